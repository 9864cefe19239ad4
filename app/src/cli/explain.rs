//! What `bifocal analyze --explain` adds to an analysis.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use bifocal_core::analysis::{Analysis, Explainer, Explanations, MapId, MapKind, stage_count};
use bifocal_core::explain::CamMethod;
use bifocal_core::model::{Bundle, NetworkImage};
use bifocal_core::task::Task;

/// A class activation map that is asked for: `grad-cam`, `hires-cam:2`, `layer-cam:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CamChoice {
    method: CamMethod,
    /// From 1; the last where it is not given.
    stage: Option<usize>,
}

impl FromStr for CamChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, stage) = match text.split_once(':') {
            None => (text, None),
            Some((name, stage)) => {
                let number = stage.parse::<usize>().ok().filter(|number| *number > 0);
                (name, Some(number.ok_or_else(|| format!("{stage:?} is no ResNet stage: they count from 1"))?))
            }
        };
        let method = CamMethod::ALL.into_iter().find(|method| method.key() == name);
        let names = CamMethod::ALL.map(CamMethod::key).join(", ");
        Ok(Self { method: method.ok_or_else(|| format!("{name:?} is none of {names}"))?, stage })
    }
}

/// Whether the bundle has the stages that are asked for.
pub(super) fn check(bundle: &Bundle, choices: &[CamChoice]) -> Result<(), String> {
    let stages = stage_count(bundle);
    match choices.iter().filter_map(|choice| choice.stage).find(|stage| *stage > stages) {
        Some(stage) => Err(format!("{} has {stages} ResNet stages, no stage {stage}", bundle.metadata.id)),
        None => Ok(()),
    }
}

/// Makes the class activation maps of each lesion class, and tests them and the maps of the analysis.
pub(super) fn explanations(
    bundle: &Arc<Bundle>,
    image: &NetworkImage,
    analysis: &Analysis,
    choices: &[CamChoice],
    task: &Task,
) -> anyhow::Result<Explanations> {
    let stages = stage_count(bundle);
    let explainer = Explainer::new(Arc::clone(bundle), Arc::new(analysis.clone()), image)?;
    let mut explanations = Explanations::default();
    for class in &bundle.metadata.lesions {
        let mut kinds = vec![MapKind::LesionHead];
        for choice in choices {
            let stage = choice.stage.unwrap_or(stages);
            let kind = MapKind::Cam { method: choice.method, stage };
            explanations.cams.push(explainer.cam(&MapId::of(kind, &class.name), task)?);
            kinds.push(kind);
        }
        kinds.extend([MapKind::AttentionRollout, MapKind::GradientRelevance]);
        for kind in kinds {
            let id = MapId::of(kind, &class.name);
            if let Some(values) = explainer.values(&id, &explanations) {
                explanations.faithfulness.push(explainer.faithfulness(&id, &values, task)?);
            }
        }
    }
    Ok(explanations)
}

/// `cam-<method>-<stage>-<lesion>.npy`, as shares of the highest value.
pub(super) fn write_maps(folder: &Path, suffix: &str, explanations: &Explanations) -> anyhow::Result<()> {
    for cam in &explanations.cams {
        let file = folder.join(format!("cam-{}-{}{suffix}.npy", cam.id.kind.key(), cam.id.label));
        ndarray_npy::write_npy(&file, cam.heat.values.as_ref()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_refused_by_name() {
        let choice = |text: &str| text.parse::<CamChoice>();
        assert_eq!(choice("grad-cam"), Ok(CamChoice { method: CamMethod::GradCam, stage: None }));
        assert_eq!(choice("layer-cam:2"), Ok(CamChoice { method: CamMethod::LayerCam, stage: Some(2) }));
        assert!(choice("score-cam").unwrap_err().contains("grad-cam, hires-cam, layer-cam"));
        assert!(choice("grad-cam:0").unwrap_err().contains("count from 1"));
    }
}
