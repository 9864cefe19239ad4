//! Labels that shapes and painted regions are given: names, colours, keys and coded concepts, in a JSON file that people edit.

use serde::{Deserialize, Serialize};

use crate::study::CodedConcept;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// What shapes refer to it by; never shown, never changed.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// Its colour: `#rrggbb`.
    pub color: String,
    /// Digit that chooses it while a drawing tool is in hand, 0 to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digit: Option<u8>,
    /// What it means to other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<CodedConcept>,
}

impl Label {
    /// Red, green and blue; gray where the colour cannot be read, which [`Taxonomy::parse`] lets nobody have.
    pub fn rgb(&self) -> [u8; 3] {
        rgb(&self.color).unwrap_or([0xA0; 3])
    }
}

fn rgb(color: &str) -> Option<[u8; 3]> {
    let digits = color.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|d| u8::from_str_radix(d, 16).ok());
    Some([part(0..2)?, part(2..4)?, part(4..6)?])
}

/// Colours of labels that come without one.
const COLORS: [&str; 6] = ["#e6b34a", "#5fb0c9", "#c77dbb", "#8fbf5a", "#e07a5f", "#7a9fe0"];

/// All labels that can be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taxonomy {
    /// Its name for people.
    pub name: String,
    /// The labels, in the order they are shown in.
    pub labels: Vec<Label>,
}

/// What is wrong with a file of labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaxonomyError {
    /// Not JSON of this form.
    #[error("{0}")]
    Json(String),
    /// No label to give.
    #[error("there is no label in it")]
    Empty,
    /// Two labels with one key or one digit.
    #[error("two labels have the {what} {which}")]
    Twice {
        /// `key` or `digit`.
        what: &'static str,
        /// Which one.
        which: String,
    },
    /// A label without key or name.
    #[error("label {0} needs a key and a name")]
    Nameless(usize),
    /// A colour that is none.
    #[error("label `{key}`: `{color}` is no colour (#rrggbb)")]
    Color {
        /// The label.
        key: String,
        /// What stands there.
        color: String,
    },
    /// A digit above 9.
    #[error("label `{key}`: the digit must be 0 to 9")]
    Digit {
        /// The label.
        key: String,
    },
}

impl Taxonomy {
    /// Reads a file of labels.
    ///
    /// # Errors
    /// Where it is not JSON of this form, or its labels cannot be told apart.
    pub fn parse(text: &str) -> Result<Self, TaxonomyError> {
        let taxonomy: Self = serde_json::from_str(text).map_err(|error| TaxonomyError::Json(error.to_string()))?;
        taxonomy.check()?;
        Ok(taxonomy)
    }

    /// Whether its labels can be given and told apart.
    ///
    /// # Errors
    /// Names the first label that cannot.
    pub fn check(&self) -> Result<(), TaxonomyError> {
        if self.labels.is_empty() {
            return Err(TaxonomyError::Empty);
        }
        for (index, label) in self.labels.iter().enumerate() {
            if label.key.trim().is_empty() || label.name.trim().is_empty() {
                return Err(TaxonomyError::Nameless(index + 1));
            }
            if rgb(&label.color).is_none() {
                return Err(TaxonomyError::Color { key: label.key.clone(), color: label.color.clone() });
            }
            if label.digit.is_some_and(|digit| digit > 9) {
                return Err(TaxonomyError::Digit { key: label.key.clone() });
            }
            for other in self.labels.iter().take(index) {
                if other.key == label.key {
                    return Err(TaxonomyError::Twice { what: "key", which: label.key.clone() });
                }
                if let Some(digit) = label.digit.filter(|digit| other.digit == Some(*digit)) {
                    return Err(TaxonomyError::Twice { what: "digit", which: digit.to_string() });
                }
            }
        }
        Ok(())
    }

    /// A label of that name, with a key and a colour of its own.
    pub fn new_label(&self, name: &str) -> Label {
        let letters = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let base: String = name.trim().chars().map(letters).collect();
        let base = if base.trim_matches('_').is_empty() { "label".to_owned() } else { base };
        let mut keys = (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}_{n}") });
        let key = keys.find(|key| self.label(key).is_none()).unwrap_or_default();
        let color = COLORS.iter().find(|color| self.labels.iter().all(|label| label.color != **color));
        let color = color.or(COLORS.get(self.labels.len() % COLORS.len())).copied().unwrap_or_default().to_owned();
        let name = if name.trim().is_empty() { key.clone() } else { name.trim().to_owned() };
        Label { key, name, color, digit: None, concept: None }
    }

    /// The label with that key.
    pub fn label(&self, key: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.key == key)
    }

    /// The label that a digit chooses.
    pub fn by_digit(&self, digit: u8) -> Option<&Label> {
        self.labels.iter().find(|label| label.digit == Some(digit))
    }
}

impl Default for Taxonomy {
    /// Bifocal's own labels for the chest, with SNOMED CT concepts.
    fn default() -> Self {
        let label = |digit: u8, key: &str, name: &str, color: &str, value: &str, meaning: &str| Label {
            key: key.to_owned(),
            name: name.to_owned(),
            color: color.to_owned(),
            digit: Some(digit),
            concept: Some(CodedConcept::new(value, "SCT", meaning)),
        };
        let labels = vec![
            label(1, "lesion", "Lesion", "#ff6f61", "52988006", "Lesion"),
            label(2, "nodule", "Nodule", "#ffd166", "27925004", "Nodule"),
            label(3, "mass", "Mass", "#f78fb3", "4147007", "Mass"),
            label(4, "consolidation", "Consolidation", "#9be564", "95436008", "Lung consolidation"),
            label(5, "atelectasis", "Atelectasis", "#70d6ff", "46621007", "Atelectasis"),
            label(6, "effusion", "Pleural effusion", "#6c9bff", "60046008", "Pleural effusion"),
            label(7, "pneumothorax", "Pneumothorax", "#c792ea", "36118008", "Pneumothorax"),
            label(8, "lymph_node", "Lymph node", "#2ec4b6", "59441001", "Lymph node"),
            label(9, "fracture", "Fracture", "#f4f1de", "72704001", "Fracture"),
        ];
        Self { name: "Chest".to_owned(), labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_labels_are_sound_and_editable() {
        let own = Taxonomy::default();
        let text = serde_json::to_string_pretty(&own).expect("serialises");
        assert_eq!(Taxonomy::parse(&text), Ok(own.clone()));
        assert_eq!(own.by_digit(2).map(|label| label.key.as_str()), Some("nodule"));
        assert_eq!(own.label("mass").map(Label::rgb), Some([0xf7, 0x8f, 0xb3]));
        assert!(own.labels.iter().all(|label| label.concept.is_some()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let of = |labels: &str| Taxonomy::parse(&format!(r#"{{"name":"x","labels":[{labels}]}}"#)).map(|_| ());
        let label = |key: &str, more: &str| format!(r##"{{"key":"{key}","name":"n","color":"#010203"{more}}}"##);
        assert_eq!(of(""), Err(TaxonomyError::Empty));
        assert_eq!(of(&label("a", "")), Ok(()));
        let twice = format!("{},{}", label("a", ""), label("a", ""));
        assert_eq!(of(&twice), Err(TaxonomyError::Twice { what: "key", which: "a".into() }));
        let digits = format!("{},{}", label("a", r#","digit":4"#), label("b", r#","digit":4"#));
        assert_eq!(of(&digits), Err(TaxonomyError::Twice { what: "digit", which: "4".into() }));
        assert_eq!(of(&label("a", r#","digit":12"#)), Err(TaxonomyError::Digit { key: "a".into() }));
        assert_eq!(of(&label(" ", "")), Err(TaxonomyError::Nameless(1)));
        let bad = of(r#"{"key":"a","name":"n","color":"red"}"#);
        assert_eq!(bad, Err(TaxonomyError::Color { key: "a".into(), color: "red".into() }));
        assert!(matches!(Taxonomy::parse("{"), Err(TaxonomyError::Json(_))));
    }

    #[test]
    fn a_new_label_can_be_told_from_all_others() {
        let mut labels = Taxonomy::default();
        for name in ["Nodule", "Nodule", "Ground glass", " ", "", "Glas, mit Öl", "a", "b", "c"] {
            labels.labels.push(labels.new_label(name));
            assert_eq!(labels.check(), Ok(()), "{name}");
        }
        let keys: Vec<&str> = labels.labels.iter().skip(9).map(|label| label.key.as_str()).collect();
        assert_eq!(keys[..4], ["nodule_2", "nodule_3", "ground_glass", "label"]);
        assert!(labels.labels[9].color != labels.labels[10].color);
    }
}
