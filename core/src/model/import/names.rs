//! Names of other libraries' weights, in ours.

use super::Source;

/// Where a weight of another library belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Our name; values are the same, but axes may be flattened.
    Name(String),
    /// Part 0 to 2 (query, key, value) of a joint projection of our name.
    Part(String, usize),
    /// Positions, those of CLS first where there is one more than the grid has cells.
    Positions,
    /// Counters of a training: nothing that the network needs.
    Counter,
    /// Nowhere.
    Nowhere,
}

/// The place of `name` of `source`.
pub(super) fn place(source: Source, name: &str) -> Place {
    let found = match source {
        Source::Bifocal => Some(Place::Name(name.to_owned())),
        Source::Torchvision => torchvision(name),
        Source::HfVit => hugging_face(name),
        Source::TimmVit => timm(name),
        Source::TimmHybrid => hybrid(name).or_else(|| timm(name)),
    };
    found.unwrap_or(Place::Nowhere)
}

fn is_number(text: &str) -> bool {
    text.parse::<usize>().is_ok()
}

fn is_affine(text: &str) -> bool {
    matches!(text, "weight" | "bias")
}

fn is_batch_norm(text: &str) -> bool {
    is_affine(text) || matches!(text, "running_mean" | "running_var")
}

fn torchvision(name: &str) -> Option<Place> {
    let parts: Vec<&str> = name.split('.').collect();
    let ours = match *parts.as_slice() {
        [.., "num_batches_tracked"] => return Some(Place::Counter),
        ["conv1", "weight"] => "resnet.stem.conv.weight".to_owned(),
        ["bn1", what] if is_batch_norm(what) => format!("resnet.stem.norm.{what}"),
        [layer, block, "downsample", "0", "weight"] => format!("resnet.{layer}.{block}.downsample.conv.weight"),
        [layer, block, "downsample", "1", what] if is_batch_norm(what) => {
            format!("resnet.{layer}.{block}.downsample.norm.{what}")
        }
        [layer, block, part, what] => match (part.strip_prefix("conv"), part.strip_prefix("bn")) {
            (Some(number), _) if is_number(number) && what == "weight" => {
                format!("resnet.{layer}.{block}.conv{number}.conv.weight")
            }
            (_, Some(number)) if is_number(number) && is_batch_norm(what) => {
                format!("resnet.{layer}.{block}.conv{number}.norm.{what}")
            }
            _ => return None,
        },
        ["fc", what] if is_affine(what) => format!("heads.classifier.{what}"),
        _ => return None,
    };
    Some(Place::Name(ours))
}

/// The names in files, and those of transformers 5 in memory.
fn hugging_face(name: &str) -> Option<Place> {
    let parts: Vec<&str> = name.strip_prefix("vit.").unwrap_or(name).split('.').collect();
    let parts = match parts.as_slice() {
        ["encoder", "layer", rest @ ..] | ["layers", rest @ ..] => {
            let (layer, rest) = rest.split_first().filter(|(layer, _)| is_number(layer))?;
            return hugging_face_layer(&format!("vit.blocks.{layer}"), rest);
        }
        parts => parts,
    };
    let ours = match *parts {
        ["embeddings", "cls_token"] => "vit.cls_token".to_owned(),
        ["embeddings", "position_embeddings"] => return Some(Place::Positions),
        ["embeddings", "patch_embeddings", "projection", what] if is_affine(what) => {
            format!("vit.patch_embed.proj.{what}")
        }
        ["layernorm", what] if is_affine(what) => format!("vit.norm.{what}"),
        ["classifier", what] if is_affine(what) => format!("heads.classifier.{what}"),
        _ => return None,
    };
    Some(Place::Name(ours))
}

fn hugging_face_layer(block: &str, rest: &[&str]) -> Option<Place> {
    let (what, path) = rest.split_last().filter(|(what, _)| is_affine(what))?;
    let part = |part| Some(Place::Part(format!("{block}.attn.qkv.{what}"), part));
    let ours = match path {
        ["attention", "attention", "query"] | ["attention", "q_proj"] => return part(0),
        ["attention", "attention", "key"] | ["attention", "k_proj"] => return part(1),
        ["attention", "attention", "value"] | ["attention", "v_proj"] => return part(2),
        ["attention", "output", "dense"] | ["attention", "o_proj"] => "attn.proj",
        ["layernorm_before"] => "norm1",
        ["layernorm_after"] => "norm2",
        ["intermediate", "dense"] | ["mlp", "fc1"] => "mlp.fc1",
        ["output", "dense"] | ["mlp", "fc2"] => "mlp.fc2",
        _ => return None,
    };
    Some(Place::Name(format!("{block}.{ours}.{what}")))
}

fn timm(name: &str) -> Option<Place> {
    let parts: Vec<&str> = name.split('.').collect();
    let ours = match *parts.as_slice() {
        ["cls_token"] => "vit.cls_token".to_owned(),
        ["reg_token"] => "vit.registers".to_owned(),
        ["pos_embed"] => return Some(Place::Positions),
        ["patch_embed", "proj", what] if is_affine(what) => format!("vit.patch_embed.proj.{what}"),
        ["blocks", block, "norm1" | "norm2", what] if is_number(block) && is_affine(what) => format!("vit.{name}"),
        ["blocks", block, "attn", "qkv" | "proj", what] | ["blocks", block, "mlp", "fc1" | "fc2", what]
            if is_number(block) && is_affine(what) =>
        {
            format!("vit.{name}")
        }
        ["norm", what] if is_affine(what) => format!("vit.norm.{what}"),
        ["head", what] if is_affine(what) => format!("heads.classifier.{what}"),
        _ => return None,
    };
    Some(Place::Name(ours))
}

/// What timm's hybrids have before their transformer.
fn hybrid(name: &str) -> Option<Place> {
    let parts: Vec<&str> = name.split('.').collect();
    let ours = match parts.as_slice() {
        ["patch_embed", "proj", what] if is_affine(what) => format!("patch_embed.proj.{what}"),
        ["patch_embed", "backbone", rest @ ..] => match *rest {
            ["stem", "conv", "weight"] => "resnet.stem.conv.weight".to_owned(),
            ["stem", "norm", what] if is_affine(what) => format!("resnet.stem.norm.{what}"),
            ["stages", stage, "blocks", block, ref inner @ ..] => {
                let block = format!("resnet.layer{}.{block}", stage.parse::<usize>().ok()?.checked_add(1)?);
                match *inner {
                    ["downsample", "conv", "weight"] => format!("{block}.downsample.conv.weight"),
                    ["downsample", "norm", what] if is_affine(what) => format!("{block}.downsample.norm.{what}"),
                    [part, what] if is_affine(what) => match (part.strip_prefix("conv"), part.strip_prefix("norm")) {
                        (Some(number), _) if is_number(number) => format!("{block}.conv{number}.conv.{what}"),
                        (_, Some(number)) if is_number(number) => format!("{block}.conv{number}.norm.{what}"),
                        _ => return None,
                    },
                    _ => return None,
                }
            }
            _ => return None,
        },
        _ => return None,
    };
    Some(Place::Name(ours))
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::{Place, place};

    #[test]
    fn names_find_their_places() {
        let name = |text: &str| Place::Name(text.to_owned());
        let part = |text: &str, index| Place::Part(text.to_owned(), index);
        for (source, theirs, ours) in [
            (Source::Torchvision, "bn1.running_var", name("resnet.stem.norm.running_var")),
            (Source::Torchvision, "layer3.0.downsample.1.bias", name("resnet.layer3.0.downsample.norm.bias")),
            (Source::Torchvision, "layer4.2.conv3.weight", name("resnet.layer4.2.conv3.conv.weight")),
            (Source::Torchvision, "layer4.2.bn3.num_batches_tracked", Place::Counter),
            (Source::Torchvision, "layer4.2.se.weight", Place::Nowhere),
            (Source::HfVit, "vit.encoder.layer.3.attention.attention.key.bias", part("vit.blocks.3.attn.qkv.bias", 1)),
            (Source::HfVit, "encoder.layer.3.output.dense.weight", name("vit.blocks.3.mlp.fc2.weight")),
            (Source::HfVit, "vit.layers.3.attention.o_proj.weight", name("vit.blocks.3.attn.proj.weight")),
            (Source::HfVit, "vit.pooler.dense.weight", Place::Nowhere),
            (Source::TimmVit, "pos_embed", Place::Positions),
            (Source::TimmVit, "blocks.11.ls1.gamma", Place::Nowhere),
            (Source::TimmVit, "patch_embed.proj.weight", name("vit.patch_embed.proj.weight")),
            (Source::TimmHybrid, "patch_embed.proj.weight", name("patch_embed.proj.weight")),
            (
                Source::TimmHybrid,
                "patch_embed.backbone.stages.1.blocks.2.norm3.bias",
                name("resnet.layer2.2.conv3.norm.bias"),
            ),
        ] {
            assert_eq!(place(source, theirs), ours, "{theirs}");
        }
    }
}
