//! Transfer syntaxes: name and decoder for each (PS3.6 annex A).

/// How the frames of a transfer syntax are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Uncompressed.
    Native {
        /// Explicit VR Big Endian.
        big_endian: bool,
    },
    /// RLE Lossless (PS3.5 annex G).
    Rle,
    /// One raw deflate stream a frame.
    DeflatedFrame,
    /// JPEG baseline, extended, spectral selection or progressive.
    JpegDct,
    /// JPEG lossless, processes 14 and 14 SV1.
    JpegLossless,
    /// JPEG-LS, lossless and near-lossless.
    JpegLs,
    /// JPEG 2000 and High-Throughput JPEG 2000.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
    /// Known, but not read: why.
    Unsupported(&'static str),
}

/// One transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSyntax {
    /// Its name in PS3.6.
    pub name: &'static str,
    /// How its frames are encoded.
    pub codec: Codec,
}

const LITTLE: Codec = Codec::Native { big_endian: false };
const VIDEO: Codec = Codec::Unsupported("this is video (MPEG), which is not decoded here");
const HIERARCHICAL: Codec =
    Codec::Unsupported("hierarchical and arithmetic JPEG, retired in 2001, are not decoded here");

/// UID, name and decoder.
const TABLE: &[(&str, &str, Codec)] = &[
    ("1.2.840.10008.1.2", "Implicit VR Little Endian", LITTLE),
    ("1.2.840.10008.1.2.1", "Explicit VR Little Endian", LITTLE),
    ("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian", LITTLE),
    ("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", LITTLE),
    ("1.2.840.10008.1.2.2", "Explicit VR Big Endian", Codec::Native { big_endian: true }),
    ("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)", Codec::JpegDct),
    ("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)", Codec::JpegDct),
    ("1.2.840.10008.1.2.4.52", "JPEG Extended (Process 3 and 5)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)", Codec::JpegDct),
    ("1.2.840.10008.1.2.4.54", "JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)", Codec::JpegDct),
    ("1.2.840.10008.1.2.4.56", "JPEG Full Progression, Non-Hierarchical (Process 11 and 13)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", Codec::JpegLossless),
    ("1.2.840.10008.1.2.4.58", "JPEG Lossless, Non-Hierarchical (Process 15)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.59", "JPEG Extended, Hierarchical (Process 16 and 18)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.60", "JPEG Extended, Hierarchical (Process 17 and 19)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.61", "JPEG Spectral Selection, Hierarchical (Process 20 and 22)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.62", "JPEG Spectral Selection, Hierarchical (Process 21 and 23)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.63", "JPEG Full Progression, Hierarchical (Process 24 and 26)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.64", "JPEG Full Progression, Hierarchical (Process 25 and 27)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.65", "JPEG Lossless, Hierarchical (Process 28)", HIERARCHICAL),
    ("1.2.840.10008.1.2.4.66", "JPEG Lossless, Hierarchical (Process 29)", HIERARCHICAL),
    (
        "1.2.840.10008.1.2.4.70",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
        Codec::JpegLossless,
    ),
    ("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless Image Compression", Codec::JpegLs),
    ("1.2.840.10008.1.2.4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression", Codec::JpegLs),
    ("1.2.840.10008.1.2.4.90", "JPEG 2000 Image Compression (Lossless Only)", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.91", "JPEG 2000 Image Compression", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component Image Compression", Codec::Jpeg2000),
    (
        "1.2.840.10008.1.2.4.94",
        "JPIP Referenced",
        Codec::Unsupported("the pixels are on a JPIP server, not in this file"),
    ),
    (
        "1.2.840.10008.1.2.4.95",
        "JPIP Referenced Deflate",
        Codec::Unsupported("the pixels are on a JPIP server, not in this file"),
    ),
    ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level", VIDEO),
    ("1.2.840.10008.1.2.4.100.1", "Fragmentable MPEG2 Main Profile / Main Level", VIDEO),
    ("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile / High Level", VIDEO),
    ("1.2.840.10008.1.2.4.101.1", "Fragmentable MPEG2 Main Profile / High Level", VIDEO),
    ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", VIDEO),
    ("1.2.840.10008.1.2.4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", VIDEO),
    ("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", VIDEO),
    ("1.2.840.10008.1.2.4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", VIDEO),
    ("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", VIDEO),
    ("1.2.840.10008.1.2.4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", VIDEO),
    ("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", VIDEO),
    ("1.2.840.10008.1.2.4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", VIDEO),
    ("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", VIDEO),
    ("1.2.840.10008.1.2.4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", VIDEO),
    ("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile / Level 5.1", VIDEO),
    ("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile / Level 5.1", VIDEO),
    ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", Codec::JpegXl),
    ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", Codec::JpegXl),
    ("1.2.840.10008.1.2.4.112", "JPEG XL", Codec::JpegXl),
    ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (Lossless Only)", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", Codec::Jpeg2000),
    ("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Codec::Jpeg2000),
    (
        "1.2.840.10008.1.2.4.204",
        "JPIP HTJ2K Referenced",
        Codec::Unsupported("the pixels are on a JPIP server, not in this file"),
    ),
    (
        "1.2.840.10008.1.2.4.205",
        "JPIP HTJ2K Referenced Deflate",
        Codec::Unsupported("the pixels are on a JPIP server, not in this file"),
    ),
    ("1.2.840.10008.1.2.5", "RLE Lossless", Codec::Rle),
    ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression", Codec::DeflatedFrame),
    ("1.2.840.113619.5.2", "Implicit VR Big Endian DLX (GE Private)", Codec::Native { big_endian: true }),
];

impl TransferSyntax {
    /// The transfer syntax of a UID; `None` where it is unknown.
    pub fn find(uid: &str) -> Option<Self> {
        let uid = uid.trim_end_matches(['\0', ' ']);
        TABLE.iter().find(|row| row.0 == uid).map(|&(_, name, codec)| Self { name, codec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_of_a_uid_is_ignored() {
        let syntax = TransferSyntax::find("1.2.840.10008.1.2.5\0").expect("known");
        assert_eq!((syntax.name, syntax.codec), ("RLE Lossless", Codec::Rle));
        assert_eq!(TransferSyntax::find("1.2.3"), None);
    }
}
