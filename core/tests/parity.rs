//! Weights of other libraries give what those libraries compute. Fixtures are made by `core/tests/reference/parity.py --tiny`; its `--full`
//! compares sizes as published.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bifocal_core::model::import::{ImportError, ImportOptions, Source, import};
use bifocal_core::model::{ModelConfig, Request, Topology, output_tensors};
use candle_core::{Device, Tensor};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(path)
}

/// Folder, source, side of the input where it is not the original's.
const CASES: &[(&str, Source, Option<usize>)] = &[
    ("torchvision-basic", Source::Torchvision, Some(64)),
    ("torchvision-bottleneck", Source::Torchvision, Some(64)),
    ("hf-vit", Source::HfVit, None),
    ("hf-vit-resized", Source::HfVit, Some(24)),
    ("timm-vit", Source::TimmVit, None),
    ("timm-vit-resized", Source::TimmVit, Some(24)),
    ("timm-vit-registers", Source::TimmVit, None),
    ("timm-hybrid", Source::TimmHybrid, None),
];

fn options(input_size: Option<usize>) -> ImportOptions {
    ImportOptions { heads: Some(4), input_size, ..ImportOptions::default() }
}

fn largest(tensor: &Tensor) -> f32 {
    tensor.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
}

/// Every expected tensor is there and differs by less than 1e-4 of the largest value; how many were compared.
fn compare(file: &Path, source: Source, expected: &str, input_size: Option<usize>) -> usize {
    let imported = import(&[(source, file.to_path_buf())], &options(input_size)).unwrap();
    assert_eq!((imported.left_over.as_slice(), imported.missing.as_slice()), (&[][..], &[][..]), "{expected}");
    let mut expected_tensors =
        candle_core::safetensors::load(fixture(expected).join("expected.safetensors"), &Device::Cpu).unwrap();
    let input = expected_tensors.remove("input").unwrap();
    let request = Request { attention: true, ..Request::default() };
    let output = imported.network().unwrap().forward(&input, &request).unwrap();
    let ours: std::collections::HashMap<String, Tensor> = output_tensors(&output).into_iter().collect();
    for (name, theirs) in &expected_tensors {
        let ours = ours.get(name).unwrap_or_else(|| panic!("{expected}: no {name}"));
        assert_eq!(ours.dims(), theirs.dims(), "{expected}: {name}");
        let difference = largest(&(ours - theirs).unwrap()) / largest(theirs);
        assert!(difference < 1e-4, "{expected}: {name} differs by {difference}");
    }
    expected_tensors.len()
}

#[test]
fn outputs_features_and_attention_are_the_originals() {
    let compared: usize = CASES
        .iter()
        .map(|(folder, source, size)| compare(&fixture(folder).join("weights.safetensors"), *source, folder, *size))
        .sum();
    // ResNets: logits, four stages, CLS; transformers: logits, CLS, tokens, two layers; the hybrid has two stages more.
    assert_eq!(compared, 2 * 6 + 5 * 5 + 7);
}

#[test]
fn pytorch_files_are_read_and_so_are_weights_inside_a_checkpoint() {
    let file = fixture("torchvision-basic/weights.pth");
    assert_eq!(compare(&file, Source::Torchvision, "torchvision-basic", Some(64)), 6);
}

#[test]
fn positions_are_resampled_and_it_is_said() {
    let file = fixture("hf-vit/weights.safetensors");
    let imported = import(&[(Source::HfVit, file)], &options(Some(48))).unwrap();
    assert_eq!(imported.resized, Some(((4, 4), (6, 6))));
    assert_eq!(imported.weights["vit.pos_embed"].dims(), [36, 32]);
    assert_eq!(imported.config.transformer.grid, [6, 6]);
}

/// Two files into one serial hybrid: everything that fits is taken, what has no place and what lacks is named.
#[test]
fn two_files_make_a_hybrid() {
    let config: ModelConfig = toml::from_str(
        r#"
topology = "serial"
input_size = 64
classes = ["a", "b", "c", "d", "e"]
colour = { mean = [0.5, 0.5, 0.5], deviation = [0.5, 0.5, 0.5] }
resnet = { channels = [4, 8, 16, 32], blocks = [1, 2, 1, 1], norm = "batch" }
transformer = { dimension = 32, depth = 2, heads = 4, mlp_ratio = 2, grid = [2, 2], position_resize = "bicubic" }
"#,
    )
    .unwrap();
    let files = [
        (Source::Torchvision, fixture("torchvision-basic/weights.safetensors")),
        (Source::HfVit, fixture("hf-vit/weights.safetensors")),
    ];
    let imported = import(&files, &ImportOptions { into: Some(config.clone()), ..ImportOptions::default() }).unwrap();
    assert_eq!(imported.config.topology, Topology::Serial);
    assert_eq!(imported.missing, ["patch_embed.proj.bias", "patch_embed.proj.weight"]);
    assert!(imported.left_over.iter().all(|name| name.starts_with("vit.patch_embed.proj")), "{:?}", imported.left_over);
    assert_eq!(imported.resized, Some(((4, 4), (2, 2))));
    let x = Tensor::randn(0.0f32, 1.0, (1, 1, 64, 64), &Device::Cpu).unwrap();
    let once = imported.network().unwrap().forward(&x, &Request::default()).unwrap().class_logits;
    let again = import(&files, &ImportOptions { into: Some(config), ..ImportOptions::default() }).unwrap();
    let again = again.network().unwrap().forward(&x, &Request::default()).unwrap().class_logits;
    assert_eq!(largest(&(once - again).unwrap()), 0.0, "weights that are made depend on the seed alone");
}

fn error_of(source: Source, file: &Path, options: &ImportOptions) -> String {
    match import(&[(source, file.to_path_buf())], options) {
        Err(error @ (ImportError::File { .. } | ImportError::Content { .. })) => error.to_string(),
        Err(error) => panic!("the file is not named: {error}"),
        Ok(_) => panic!("{} is not refused", file.display()),
    }
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let hf = fixture("hf-vit/weights.safetensors");
    assert!(error_of(Source::HfVit, &folder.path().join("none"), &options(None)).contains("none"));
    assert!(error_of(Source::HfVit, &write("empty", b""), &options(None)).contains("safetensors"));
    assert!(error_of(Source::HfVit, &write("old.pth", &[0x80, 2, 0x8a]), &options(None)).contains("1.6"));
    assert!(error_of(Source::Torchvision, &hf, &options(None)).contains("no weight has a name"));
    assert!(error_of(Source::HfVit, &hf, &options(Some(30))).contains("multiple of 8"));
    assert!(error_of(Source::HfVit, &hf, &ImportOptions::default()).contains("heads"));
    assert!(error_of(Source::Bifocal, &hf, &options(None)).contains("configuration"));
    // A PyTorch file that is cut, or with any byte changed, is refused or read, and nothing else.
    let bytes = std::fs::read(fixture("torchvision-basic/weights.pth")).unwrap();
    for cut in [10, bytes.len() / 2, bytes.len() - 30] {
        error_of(Source::Torchvision, &write("cut.pth", &bytes[..cut]), &options(Some(64)));
    }
    for at in (0..4000.min(bytes.len())).step_by(37) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x5b;
        let _ = import(&[(Source::Torchvision, write("changed.pth", &changed))], &options(Some(64)));
    }
}
