// Kernels of this room for NVIDIA GPUs. Arithmetic is in f32; storage is f32, or bf16 where only a forward pass is asked for.
//
// Sums run in one fixed order (no atomics), so that a result is the same in every run.

#include <cuda_bf16.h>
#include <mma.h>

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float load(float v) { return v; }
__device__ __forceinline__ float load(bf16 v) { return __bfloat162float(v); }
__device__ __forceinline__ void store(float *p, float v) { *p = v; }
__device__ __forceinline__ void store(bf16 *p, float v) { *p = __float2bfloat16(v); }

// Sum over the threads of a block; every thread gets it.
__device__ float block_sum(float v) {
    __shared__ float parts[32];
    for (int step = 16; step > 0; step >>= 1) v += __shfl_xor_sync(~0u, v, step);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
    __syncthreads();
    int warps = (blockDim.x + 31) >> 5;
    v = threadIdx.x % 32 < warps ? parts[threadIdx.x % 32] : 0.f;
    for (int step = 16; step > 0; step >>= 1) v += __shfl_xor_sync(~0u, v, step);
    return v;
}

__device__ float block_max(float v) {
    __shared__ float parts[32];
    for (int step = 16; step > 0; step >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
    __syncthreads();
    int warps = (blockDim.x + 31) >> 5;
    v = threadIdx.x % 32 < warps ? parts[threadIdx.x % 32] : -INFINITY;
    for (int step = 16; step > 0; step >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
    return v;
}

// ---- normalisation -------------------------------------------------------------------------------------------------------------
// Rows of neighbouring values; each affine weight serves `repeat` neighbours, `per_item` rows use all weights once.

template <typename T>
__device__ void norm_forward(const T *x, const T *gamma, const T *beta, T *y, int row_len, int repeat, int per_item, float eps, int relu) {
    size_t start = (size_t)blockIdx.x * row_len;
    int first = blockIdx.x % per_item * (row_len / repeat);
    float sum = 0.f;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) sum += load(x[start + i]);
    float mean = block_sum(sum) / row_len;
    sum = 0.f;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) {
        float d = load(x[start + i]) - mean;
        sum += d * d;
    }
    float rstd = rsqrtf(block_sum(sum) / row_len + eps);
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) {
        int w = first + i / repeat;
        float v = (load(x[start + i]) - mean) * rstd * load(gamma[w]) + load(beta[w]);
        store(y + start + i, relu ? fmaxf(v, 0.f) : v);
    }
}

extern "C" __global__ void norm_f32(const float *x, const float *g, const float *b, float *y, int n, int repeat, int per_item, float eps, int relu) {
    norm_forward(x, g, b, y, n, repeat, per_item, eps, relu);
}
extern "C" __global__ void norm_bf16(const bf16 *x, const bf16 *g, const bf16 *b, bf16 *y, int n, int repeat, int per_item, float eps, int relu) {
    norm_forward(x, g, b, y, n, repeat, per_item, eps, relu);
}

// Gradient of the input; `stats` receives mean and 1 / deviation of each row.
extern "C" __global__ void norm_backward(const float *x, const float *gamma, const float *y, const float *dy, float *dx, float2 *stats,
                                         int row_len, int repeat, int per_item, float eps, int relu) {
    size_t start = (size_t)blockIdx.x * row_len;
    int first = blockIdx.x % per_item * (row_len / repeat);
    float sum = 0.f;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) sum += x[start + i];
    float mean = block_sum(sum) / row_len;
    sum = 0.f;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) {
        float d = x[start + i] - mean;
        sum += d * d;
    }
    float rstd = rsqrtf(block_sum(sum) / row_len + eps);
    if (threadIdx.x == 0) stats[blockIdx.x] = make_float2(mean, rstd);
    float s1 = 0.f, s2 = 0.f;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) {
        float g = relu && y[start + i] <= 0.f ? 0.f : dy[start + i] * gamma[first + i / repeat];
        s1 += g;
        s2 += g * (x[start + i] - mean) * rstd;
    }
    s1 = block_sum(s1) / row_len;
    s2 = block_sum(s2) / row_len;
    for (int i = threadIdx.x; i < row_len; i += blockDim.x) {
        float g = relu && y[start + i] <= 0.f ? 0.f : dy[start + i] * gamma[first + i / repeat];
        dx[start + i] = rstd * (g - s1 - (x[start + i] - mean) * rstd * s2);
    }
}

// Gradients of gamma and beta where a weight serves many neighbours: a block each weight.
extern "C" __global__ void norm_affine(const float *x, const float *y, const float *dy, const float2 *stats, float *dgamma, float *dbeta,
                                       int rows, int row_len, int repeat, int per_item, int relu) {
    int per_row = row_len / repeat, w = blockIdx.x;
    float sg = 0.f, sb = 0.f;
    for (int row = w / per_row; row < rows; row += per_item) {
        size_t start = (size_t)row * row_len + (size_t)(w % per_row) * repeat;
        float2 s = stats[row];
        for (int i = threadIdx.x; i < repeat; i += blockDim.x) {
            float g = relu && y[start + i] <= 0.f ? 0.f : dy[start + i];
            sb += g;
            sg += g * (x[start + i] - s.x) * s.y;
        }
    }
    sg = block_sum(sg);
    sb = block_sum(sb);
    if (threadIdx.x == 0) {
        dgamma[w] = sg;
        dbeta[w] = sb;
    }
}

// As above where each value has a weight of its own (layers): 32 weights a block, whose warps share out the rows.
extern "C" __global__ void layer_affine(const float *x, const float *dy, const float2 *stats, float *dgamma, float *dbeta, int rows, int n) {
    __shared__ float sums[2][32][33];
    int w = blockIdx.x * 32 + threadIdx.x;
    float sg = 0.f, sb = 0.f;
    if (w < n)
        for (int row = threadIdx.y; row < rows; row += 32) {
            float2 s = stats[row];
            float g = dy[(size_t)row * n + w];
            sb += g;
            sg += g * (x[(size_t)row * n + w] - s.x) * s.y;
        }
    sums[0][threadIdx.y][threadIdx.x] = sg;
    sums[1][threadIdx.y][threadIdx.x] = sb;
    __syncthreads();
    if (threadIdx.y < 2 && w < n) {
        float sum = 0.f;
        for (int i = 0; i < 32; i++) sum += sums[threadIdx.y][i][threadIdx.x];
        (threadIdx.y == 0 ? dgamma : dbeta)[w] = sum;
    }
}

// ---- element by element --------------------------------------------------------------------------------------------------------

#define EACH(n) for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < (n); i += (size_t)gridDim.x * blockDim.x)

// y = relu(y + bias[channel] + residual), in place; without bias, residual or relu where they are null or 0.
template <typename T>
__device__ void finish(T *y, const T *bias, const T *residual, size_t n, int plane, int channels, int relu) {
    EACH(n) {
        float v = load(y[i]);
        if (bias) v += load(bias[i / plane % channels]);
        if (residual) v += load(residual[i]);
        store(y + i, relu ? fmaxf(v, 0.f) : v);
    }
}
extern "C" __global__ void finish_f32(float *y, const float *b, const float *r, size_t n, int plane, int channels, int relu) {
    finish(y, b, r, n, plane, channels, relu);
}
extern "C" __global__ void finish_bf16(bf16 *y, const bf16 *b, const bf16 *r, size_t n, int plane, int channels, int relu) {
    finish(y, b, r, n, plane, channels, relu);
}

extern "C" __global__ void add_relu_f32(const float *a, const float *b, float *y, size_t n) {
    EACH(n) y[i] = fmaxf(a[i] + b[i], 0.f);
}
extern "C" __global__ void add_relu_bf16(const bf16 *a, const bf16 *b, bf16 *y, size_t n) {
    EACH(n) store(y + i, fmaxf(load(a[i]) + load(b[i]), 0.f));
}

extern "C" __global__ void relu_mask(const float *y, const float *dy, float *dx, size_t n) {
    EACH(n) dx[i] = y[i] > 0.f ? dy[i] : 0.f;
}

__device__ __forceinline__ float gelu_value(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678f)); }
extern "C" __global__ void gelu_f32(const float *x, float *y, size_t n) { EACH(n) y[i] = gelu_value(x[i]); }
extern "C" __global__ void gelu_bf16(const bf16 *x, bf16 *y, size_t n) { EACH(n) store(y + i, gelu_value(load(x[i]))); }
extern "C" __global__ void gelu_backward(const float *x, const float *dy, float *dx, size_t n) {
    EACH(n) {
        float v = x[i];
        dx[i] = dy[i] * (0.5f * (1.f + erff(v * 0.70710678f)) + v * 0.39894228f * expf(-0.5f * v * v));
    }
}

// Sum of each channel of (batch, channel, plane): a block a channel.
extern "C" __global__ void channel_sums(const float *dy, float *db, int batch, int channels, int plane) {
    float sum = 0.f;
    for (int b = 0; b < batch; b++) {
        const float *from = dy + ((size_t)b * channels + blockIdx.x) * plane;
        for (int i = threadIdx.x; i < plane; i += blockDim.x) sum += from[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) db[blockIdx.x] = sum;
}

// ---- softmax over rows ---------------------------------------------------------------------------------------------------------

template <typename T> __device__ void softmax(const T *x, T *y, int n) {
    x += (size_t)blockIdx.x * n;
    y += (size_t)blockIdx.x * n;
    float most = -INFINITY, sum = 0.f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) most = fmaxf(most, load(x[i]));
    most = block_max(most);
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += __expf(load(x[i]) - most);
    float scale = 1.f / block_sum(sum);
    for (int i = threadIdx.x; i < n; i += blockDim.x) store(y + i, __expf(load(x[i]) - most) * scale);
}
extern "C" __global__ void softmax_f32(const float *x, float *y, int n) { softmax(x, y, n); }
extern "C" __global__ void softmax_bf16(const bf16 *x, bf16 *y, int n) { softmax(x, y, n); }
extern "C" __global__ void softmax_backward(const float *y, const float *dy, float *dx, int n) {
    size_t start = (size_t)blockIdx.x * n;
    float dot = 0.f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) dot += y[start + i] * dy[start + i];
    dot = block_sum(dot);
    for (int i = threadIdx.x; i < n; i += blockDim.x) dx[start + i] = y[start + i] * (dy[start + i] - dot);
}

// ---- maps ----------------------------------------------------------------------------------------------------------------------

// Index of the largest value of a window, the first of equals.
template <typename T>
__device__ __forceinline__ int winner(const T *plane, int height, int width, int row, int col, int kernel, int stride, int before) {
    int top = max(row * stride - before, 0), left = max(col * stride - before, 0);
    int bottom = min(row * stride - before + kernel, height), right = min(col * stride - before + kernel, width);
    int best = top * width + left;
    for (int r = top; r < bottom; r++)
        for (int c = left; c < right; c++)
            if (load(plane[r * width + c]) > load(plane[best])) best = r * width + c;
    return best;
}

template <typename T>
__device__ void max_pool(const T *x, T *y, size_t n, int height, int width, int out_h, int out_w, int kernel, int stride, int before) {
    EACH(n) {
        const T *plane = x + i / ((size_t)out_h * out_w) * ((size_t)height * width);
        int row = i / out_w % out_h, col = i % out_w;
        y[i] = plane[winner(plane, height, width, row, col, kernel, stride, before)];
    }
}
extern "C" __global__ void max_pool_f32(const float *x, float *y, size_t n, int h, int w, int oh, int ow, int k, int s, int p) {
    max_pool(x, y, n, h, w, oh, ow, k, s, p);
}
extern "C" __global__ void max_pool_bf16(const bf16 *x, bf16 *y, size_t n, int h, int w, int oh, int ow, int k, int s, int p) {
    max_pool(x, y, n, h, w, oh, ow, k, s, p);
}
// A thread an input, which looks up the windows that it may have won.
extern "C" __global__ void max_pool_backward(const float *x, const float *dy, float *dx, size_t n, int height, int width, int out_h, int out_w,
                                             int kernel, int stride, int before) {
    EACH(n) {
        size_t image = i / ((size_t)height * width);
        int at = i % ((size_t)height * width), row = at / width, col = at % width;
        const float *plane = x + image * height * width;
        int top = max((row + before - kernel + stride) / stride, 0), bottom = min((row + before) / stride, out_h - 1);
        int left = max((col + before - kernel + stride) / stride, 0), right = min((col + before) / stride, out_w - 1);
        float sum = 0.f;
        for (int r = top; r <= bottom; r++)
            for (int c = left; c <= right; c++)
                if (winner(plane, height, width, r, c, kernel, stride, before) == at) sum += dy[(image * out_h + r) * out_w + c];
        dx[i] = sum;
    }
}

// The two inputs that an output lies between, and the weight of the second.
__device__ __forceinline__ void tap(int out, int from, float scale, int &first, int &second, float &weight) {
    float at = fminf(fmaxf(__fsub_rn(__fmul_rn(out + 0.5f, scale), 0.5f), 0.f), (float)(from - 1));
    first = (int)at;
    second = min(first + 1, from - 1);
    weight = at - first;
}

template <typename T>
__device__ void bilinear(const T *x, T *y, size_t n, int height, int width, int out_h, int out_w) {
    float by_row = (float)height / out_h, by_col = (float)width / out_w;
    EACH(n) {
        const T *plane = x + i / ((size_t)out_h * out_w) * ((size_t)height * width);
        int top, bottom, left, right;
        float wr, wc;
        tap(i / out_w % out_h, height, by_row, top, bottom, wr);
        tap(i % out_w, width, by_col, left, right, wc);
        float a = load(plane[top * width + left]), b = load(plane[top * width + right]);
        float c = load(plane[bottom * width + left]), d = load(plane[bottom * width + right]);
        a += wr * (c - a);
        b += wr * (d - b);
        store(y + i, a + wc * (b - a));
    }
}
extern "C" __global__ void bilinear_f32(const float *x, float *y, size_t n, int h, int w, int oh, int ow) { bilinear(x, y, n, h, w, oh, ow); }
extern "C" __global__ void bilinear_bf16(const bf16 *x, bf16 *y, size_t n, int h, int w, int oh, int ow) { bilinear(x, y, n, h, w, oh, ow); }

// Outputs that may read input `at`: from `lo` to `hi`.
__device__ __forceinline__ void readers(int at, int from, int to, float scale, int &lo, int &hi) {
    lo = at == 0 ? 0 : max((int)floorf((at - 0.5f) / scale - 0.5f) - 1, 0);
    hi = at == from - 1 ? to - 1 : min((int)ceilf((at + 1.5f) / scale - 0.5f) + 1, to - 1);
}
__device__ __forceinline__ float share(int out, int at, int from, float scale) {
    int first, second;
    float weight;
    tap(out, from, scale, first, second, weight);
    return (first == at ? 1.f - weight : 0.f) + (second == at ? weight : 0.f);
}
extern "C" __global__ void bilinear_backward(const float *dy, float *dx, size_t n, int height, int width, int out_h, int out_w) {
    float by_row = (float)height / out_h, by_col = (float)width / out_w;
    EACH(n) {
        const float *from = dy + i / ((size_t)height * width) * ((size_t)out_h * out_w);
        int row = i / width % height, col = i % width, r0, r1, c0, c1;
        readers(row, height, out_h, by_row, r0, r1);
        readers(col, width, out_w, by_col, c0, c1);
        float sum = 0.f;
        for (int r = r0; r <= r1; r++) {
            float wr = share(r, row, height, by_row);
            if (wr == 0.f) continue;
            float line = 0.f;
            for (int c = c0; c <= c1; c++) line += share(c, col, width, by_col) * from[r * out_w + c];
            sum += wr * line;
        }
        dx[i] = sum;
    }
}

// Regions of interest: `bounds` holds image, start and size of a cell on each axis (y, x), in map pixels; `samples` those of a cell.
__device__ __forceinline__ float line_weight(float start, float cell, int index, int samples, int line, int length) {
    float sum = 0.f;
    for (int s = 0; s < samples; s++) {
        float at = start + index * cell + (s + 0.5f) * cell / samples;
        if (at < -1.f || at > length) continue;
        at = fminf(fmaxf(at, 0.f), length - 1.f);
        int first = (int)at;
        float part = at - first;
        if (first == line) sum += 1.f - part;
        if (part > 0.f && min(first + 1, length - 1) == line) sum += part;
    }
    return samples > 0 ? sum / samples : 0.f;
}
__device__ __forceinline__ void cell_lines(float start, float cell, int index, int length, int &lo, int &hi) {
    float a = start + index * cell, b = a + cell;
    lo = min(max((int)floorf(fminf(a, b)), 0), length - 1);
    hi = min(max((int)ceilf(fmaxf(a, b)) + 1, 0), length - 1);
}
extern "C" __global__ void roi_align(const float *x, const float *bounds, const int *samples, float *y, size_t n, int channels, int height,
                                     int width, int rows, int cols) {
    EACH(n) {
        int col = i % cols, row = i / cols % rows, channel = i / ((size_t)cols * rows) % channels;
        int roi = i / ((size_t)cols * rows * channels);
        const float *b = bounds + roi * 5;
        const float *plane = x + ((size_t)b[0] * channels + channel) * ((size_t)height * width);
        int r0, r1, c0, c1;
        cell_lines(b[1], b[2], row, height, r0, r1);
        cell_lines(b[3], b[4], col, width, c0, c1);
        float sum = 0.f;
        for (int r = r0; r <= r1; r++) {
            float wr = line_weight(b[1], b[2], row, samples[roi * 2], r, height);
            if (wr == 0.f) continue;
            for (int c = c0; c <= c1; c++) sum += wr * line_weight(b[3], b[4], col, samples[roi * 2 + 1], c, width) * plane[r * width + c];
        }
        y[i] = sum;
    }
}
// A block an (image, row, column) of the map, whose threads take the channels: regions are added in order.
extern "C" __global__ void roi_align_backward(const float *dy, const float *bounds, const int *samples, float *dx, int rois, int channels,
                                              int height, int width, int rows, int cols) {
    int image = blockIdx.x / (height * width), row = blockIdx.x / width % height, col = blockIdx.x % width;
    for (int channel = threadIdx.x; channel < channels; channel += blockDim.x)
        dx[((size_t)image * channels + channel) * height * width + row * width + col] = 0.f;
    for (int roi = 0; roi < rois; roi++) {
        const float *b = bounds + roi * 5;
        // A sample up to a pixel outside the map counts for its border.
        if ((int)b[0] != image || row < floorf(b[1]) - 1.f || row > ceilf(b[1] + b[2] * rows) + 1.f || col < floorf(b[3]) - 1.f ||
            col > ceilf(b[3] + b[4] * cols) + 1.f)
            continue;
        for (int r = 0; r < rows; r++) {
            float wr = line_weight(b[1], b[2], r, samples[roi * 2], row, height);
            if (wr == 0.f) continue;
            for (int c = 0; c < cols; c++) {
                float w = wr * line_weight(b[3], b[4], c, samples[roi * 2 + 1], col, width);
                if (w == 0.f) continue;
                for (int channel = threadIdx.x; channel < channels; channel += blockDim.x)
                    dx[((size_t)image * channels + channel) * height * width + row * width + col] +=
                        w * dy[(((size_t)roi * channels + channel) * rows + r) * cols + c];
            }
        }
    }
}

// ---- convolution where cuDNN is missing: columns for a matrix product ------------------------------------------------------------

template <typename T>
__device__ void im2col(const T *x, T *columns, size_t n, int height, int width, int kh, int kw, int out_h, int out_w, int stride, int padding,
                       int dilation) {
    // columns: (channel, kernel row, kernel column, output row, output column)
    EACH(n) {
        int ow = i % out_w, oh = i / out_w % out_h, k = i / ((size_t)out_w * out_h) % (kh * kw);
        int channel = i / ((size_t)out_w * out_h * kh * kw);
        int r = oh * stride - padding + k / kw * dilation, c = ow * stride - padding + k % kw * dilation;
        bool inside = r >= 0 && r < height && c >= 0 && c < width;
        store(columns + i, inside ? load(x[((size_t)channel * height + r) * width + c]) : 0.f);
    }
}
extern "C" __global__ void im2col_f32(const float *x, float *cols, size_t n, int h, int w, int kh, int kw, int oh, int ow, int s, int p, int d) {
    im2col(x, cols, n, h, w, kh, kw, oh, ow, s, p, d);
}
extern "C" __global__ void im2col_bf16(const bf16 *x, bf16 *cols, size_t n, int h, int w, int kh, int kw, int oh, int ow, int s, int p, int d) {
    im2col(x, cols, n, h, w, kh, kw, oh, ow, s, p, d);
}
extern "C" __global__ void col2im(const float *columns, float *dx, size_t n, int height, int width, int kh, int kw, int out_h, int out_w, int stride,
                                  int padding, int dilation) {
    EACH(n) {
        int col = i % width, row = i / width % height, channel = i / ((size_t)width * height);
        float sum = 0.f;
        for (int k = 0; k < kh * kw; k++) {
            int r = row + padding - k / kw * dilation, c = col + padding - k % kw * dilation;
            if (r < 0 || c < 0 || r % stride || c % stride || r / stride >= out_h || c / stride >= out_w) continue;
            sum += columns[(((size_t)channel * kh * kw + k) * out_h + r / stride) * out_w + c / stride];
        }
        dx[i] = sum;
    }
}

// ---- attention -----------------------------------------------------------------------------------------------------------------
// One block for 64 queries of a head; keys and values pass in tiles, so that memory is linear in tokens (Dao et al., 2022).
// qkv: (batch, token, 3, head, D); y: (batch, token, head, D). 256 threads.

template <int D>
__device__ void attend(const float *qkv, float *y, int tokens, int heads, float scale) {
    const int BQ = 64, BK = 32, PER = D / 8, KEYS = BK / 8;
    __shared__ float q[BQ][D + 1], k[BK][D + 1], v[BK][D], p[BQ][BK + 1];
    int head = blockIdx.y % heads, batch = blockIdx.y / heads, first = blockIdx.x * BQ;
    int stride = 3 * heads * D;
    const float *base = qkv + (size_t)batch * tokens * stride + head * D;
    for (int i = threadIdx.x; i < BQ * D; i += 256) {
        int row = i / D, d = i % D;
        q[row][d] = first + row < tokens ? base[(size_t)(first + row) * stride + d] * scale : 0.f;
    }
    int row = threadIdx.x / 8 * 2, lane = threadIdx.x % 8;
    float most[2] = {-INFINITY, -INFINITY}, total[2] = {0.f, 0.f}, sum[2][PER] = {};
    for (int start = 0; start < tokens; start += BK) {
        __syncthreads();
        for (int i = threadIdx.x; i < BK * D; i += 256) {
            int key = i / D, d = i % D;
            bool inside = start + key < tokens;
            const float *at = base + (size_t)(start + key) * stride + d;
            k[key][d] = inside ? at[heads * D] : 0.f;
            v[key][d] = inside ? at[2 * heads * D] : 0.f;
        }
        __syncthreads();
        float s[2][KEYS] = {};
        for (int d = 0; d < D; d++) {
            float a = q[row][d], b = q[row + 1][d];
#pragma unroll
            for (int j = 0; j < KEYS; j++) {
                float key = k[lane + 8 * j][d];
                s[0][j] += a * key;
                s[1][j] += b * key;
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float now = most[r];
#pragma unroll
            for (int j = 0; j < KEYS; j++) {
                if (start + lane + 8 * j >= tokens) s[r][j] = -INFINITY;
                now = fmaxf(now, s[r][j]);
            }
            for (int step = 4; step > 0; step >>= 1) now = fmaxf(now, __shfl_xor_sync(~0u, now, step));
            float shrink = __expf(most[r] - now), part = 0.f;
            most[r] = now;
#pragma unroll
            for (int j = 0; j < KEYS; j++) {
                float e = __expf(s[r][j] - now);
                part += e;
                p[row + r][lane + 8 * j] = e;
            }
            for (int step = 4; step > 0; step >>= 1) part += __shfl_xor_sync(~0u, part, step);
            total[r] = total[r] * shrink + part;
#pragma unroll
            for (int j = 0; j < PER; j++) sum[r][j] *= shrink;
        }
        __syncwarp();
        for (int key = 0; key < BK; key++) {
            float a = p[row][key], b = p[row + 1][key];
#pragma unroll
            for (int j = 0; j < PER; j++) {
                float value = v[key][lane + 8 * j];
                sum[0][j] += a * value;
                sum[1][j] += b * value;
            }
        }
    }
    for (int r = 0; r < 2; r++) {
        if (first + row + r >= tokens) continue;
        float *out = y + ((size_t)batch * tokens + first + row + r) * heads * D + head * D;
        for (int j = 0; j < PER; j++) out[lane + 8 * j] = sum[r][j] / total[r];
    }
}

#define ATTEND(D) \
    extern "C" __global__ void __launch_bounds__(256) attention_f32_##D(const float *qkv, float *y, int tokens, int heads, float scale) { \
        attend<D>(qkv, y, tokens, heads, scale); \
    }
ATTEND(16) ATTEND(32) ATTEND(48) ATTEND(64)

// The same on tensor cores, in bf16 with f32 sums: 4 warps of 16 queries, 32 keys a tile.
template <int D>
__device__ void attend_bf16(const bf16 *qkv, bf16 *y, int tokens, int heads, float scale) {
    using namespace nvcuda;
    const int BK = 32, LD = D + 8;
    __shared__ __align__(32) bf16 q[64][LD], k[BK][LD], v[BK][LD], p[64][BK];
    __shared__ __align__(32) float s[64][BK + 4], o[64][D + 4];
    int head = blockIdx.y % heads, batch = blockIdx.y / heads, first = blockIdx.x * 64;
    int stride = 3 * heads * D, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const bf16 *base = qkv + (size_t)batch * tokens * stride + head * D;
    const uint4 zero = {0, 0, 0, 0};
    for (int i = threadIdx.x; i < 64 * D / 8; i += 128) {
        int row = i / (D / 8), d = i % (D / 8) * 8;
        *(uint4 *)&q[row][d] = first + row < tokens ? *(const uint4 *)&base[(size_t)(first + row) * stride + d] : zero;
    }
    for (int i = threadIdx.x; i < 64 * D; i += 128) o[i / D][i % D] = 0.f;
    // Two lanes a query.
    int row = warp * 16 + lane / 2, half = lane % 2;
    float most = -INFINITY, total = 0.f;
    for (int start = 0; start < tokens; start += BK) {
        __syncthreads();
        for (int i = threadIdx.x; i < BK * D / 8; i += 128) {
            int key = i / (D / 8), d = i % (D / 8) * 8;
            bool inside = start + key < tokens;
            const bf16 *at = base + (size_t)(start + key) * stride + d;
            *(uint4 *)&k[key][d] = inside ? *(const uint4 *)&at[heads * D] : zero;
            *(uint4 *)&v[key][d] = inside ? *(const uint4 *)&at[2 * heads * D] : zero;
        }
        __syncthreads();
        for (int j = 0; j < BK / 16; j++) {
            wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
            wmma::fill_fragment(c, 0.f);
            for (int d = 0; d < D; d += 16) {
                wmma::fragment<wmma::matrix_a, 16, 16, 16, bf16, wmma::row_major> a;
                wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, wmma::col_major> b;
                wmma::load_matrix_sync(a, &q[warp * 16][d], LD);
                wmma::load_matrix_sync(b, &k[j * 16][d], LD);
                wmma::mma_sync(c, a, b, c);
            }
            wmma::store_matrix_sync(&s[warp * 16][j * 16], c, BK + 4, wmma::mem_row_major);
        }
        __syncwarp();
        float now = most, part = 0.f;
        for (int j = half * (BK / 2); j < (half + 1) * (BK / 2); j++)
            if (start + j < tokens) now = fmaxf(now, s[row][j] * scale);
        now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
        float shrink = __expf(most - now);
        most = now;
        for (int j = half * (BK / 2); j < (half + 1) * (BK / 2); j++) {
            float e = start + j < tokens ? __expf(s[row][j] * scale - now) : 0.f;
            part += e;
            p[row][j] = __float2bfloat16(e);
        }
        total = total * shrink + part + __shfl_xor_sync(~0u, part, 1);
        for (int d = half * (D / 2); d < (half + 1) * (D / 2); d++) o[row][d] *= shrink;
        __syncwarp();
        for (int d = 0; d < D; d += 16) {
            wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
            wmma::load_matrix_sync(c, &o[warp * 16][d], D + 4, wmma::mem_row_major);
            for (int j = 0; j < BK; j += 16) {
                wmma::fragment<wmma::matrix_a, 16, 16, 16, bf16, wmma::row_major> a;
                wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, wmma::row_major> b;
                wmma::load_matrix_sync(a, &p[warp * 16][j], BK);
                wmma::load_matrix_sync(b, &v[j][d], LD);
                wmma::mma_sync(c, a, b, c);
            }
            wmma::store_matrix_sync(&o[warp * 16][d], c, D + 4, wmma::mem_row_major);
        }
        __syncwarp();
    }
    if (first + row < tokens) {
        bf16 *out = y + ((size_t)batch * tokens + first + row) * heads * D + head * D;
        for (int d = half * (D / 2); d < (half + 1) * (D / 2); d++) out[d] = __float2bfloat16(o[row][d] / total);
    }
}

#define ATTEND_BF16(D) \
    extern "C" __global__ void __launch_bounds__(128) attention_bf16_##D(const bf16 *qkv, bf16 *y, int tokens, int heads, float scale) { \
        attend_bf16<D>(qkv, y, tokens, heads, scale); \
    }
ATTEND_BF16(16) ATTEND_BF16(32) ATTEND_BF16(48) ATTEND_BF16(64)

// ---- optimiser -----------------------------------------------------------------------------------------------------------------

// Sums of squares, one a block.
extern "C" __global__ void squares(const float *x, float *sums, size_t n) {
    float sum = 0.f;
    EACH(n) sum += x[i] * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// AdamW and the moving average of the weights, in place.
extern "C" __global__ void adamw(float *value, const float *gradient, float *momentum, float *variance, size_t n, float clip, float beta1,
                                 float beta2, float step, float variance_scale, float decay, float eps) {
    EACH(n) {
        float g = gradient[i] * clip;
        float m = momentum[i] = beta1 * momentum[i] + (1.f - beta1) * g;
        float v = variance[i] = beta2 * variance[i] + (1.f - beta2) * g * g;
        value[i] = value[i] * decay - step * m / (sqrtf(v * variance_scale) + eps);
    }
}
extern "C" __global__ void follow(float *average, const float *value, size_t n, float decay) {
    EACH(n) average[i] = decay * average[i] + (1.f - decay) * value[i];
}
