//! De-identified copies of images (PS3.15 Annex E, Basic Application Level Confidentiality Profile).
//!
//! The profile lists what must go. Here it is turned round: only what is known to describe the image is kept, so that an attribute nobody
//! thought of goes too. Pixel data are copied byte for byte; identifiers are replaced consistently within one [`Deidentifier`], so that
//! series, references and frames of reference still belong together. Originals are only read.

mod encode;
mod rules;

use dicom_core::{Tag, VR};
use rand::RngExt;
use sha2::{Digest, Sha256};

use self::encode::Output;
use self::rules::Rule;
use super::file::{DicomError, DicomFile};
use super::write::uid_from_name;
use super::{DataSet, EXPLICIT_VR_BIG_ENDIAN, Element, tags, uids};

/// What is kept beyond the basic profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retain {
    /// Sex, age, size and weight (Retain Patient Characteristics Option).
    pub patient_characteristics: bool,
    /// Dates, shifted by the same number of days for all of a patient, and times (Retain Longitudinal Temporal Information With Modified
    /// Dates Option). Without it dates and times are removed.
    pub shifted_dates: bool,
}

/// Replaces identifiers; the same key gives the same replacements.
#[derive(Debug, Clone)]
pub struct Deidentifier {
    key: String,
    retain: Retain,
    /// Pseudonym of all that is copied; made from the file where there is none.
    patient: Option<String>,
}

/// A de-identified copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deidentified {
    /// The file, Part 10.
    pub bytes: Vec<u8>,
    /// Pseudonym of the patient.
    pub patient: String,
    /// New identifiers of study, series and instance.
    pub study_uid: String,
    #[allow(missing_docs)]
    pub series_uid: String,
    #[allow(missing_docs)]
    pub sop_instance_uid: String,
    /// What a person must look at, one sentence each: text that may be burned into the pixels.
    pub warnings: Vec<String>,
}

/// Sequences in sequences are followed this deep; what lies deeper is left out.
const DEEPEST: usize = 16;

impl Deidentifier {
    /// `key` is a secret: who has it and an original can find the copy.
    pub fn new(key: &str, retain: Retain) -> Self {
        Self { key: key.to_owned(), retain, patient: None }
    }

    /// For images of one patient, who has a pseudonym already.
    #[must_use]
    pub fn of_patient(&self, pseudonym: &str) -> Self {
        Self { patient: Some(pseudonym.to_owned()), ..self.clone() }
    }

    /// With a key that nobody knows: what is copied later does not join what was copied before.
    pub fn with_random_key(retain: Retain) -> Self {
        Self::new(&format!("{:032x}", rand::rng().random::<u128>()), retain)
    }

    /// A copy of the image in `file`, in the same transfer syntax (deflated files are inflated).
    ///
    /// # Errors
    /// Where the file holds no image, or one whose text cannot be separated from the image: reports and documents, whole slides (their labels).
    pub fn copy(&self, file: &DicomFile) -> Result<Deidentified, DicomError> {
        let set = file.data_set();
        file.pixel_data()?;
        let class = set.line(tags::SOP_CLASS_UID);
        if set.line(tags::MODALITY) == "SM" {
            let cause = "a whole slide: its label and specimen identifiers cannot be told from the image";
            return Err(file.attribute_error(tags::MODALITY, cause));
        }
        let patient = self.pseudonym(set);
        let work = Work {
            by: self,
            days: self.days(set),
            patient: patient.clone(),
            // Objects with functional groups want dates with a value.
            dummy_dates: set.has(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
            encoding: file.encoding,
        };
        let mut body = Output::new(file.encoding);
        work.data_set(set, 0, &mut body);
        let sop_instance_uid = self.uid(&set.line(tags::SOP_INSTANCE_UID));
        let encapsulated = set.elements().any(Element::is_encapsulated);
        let syntax = match (encapsulated, file.encoding.explicit, file.encoding.big_endian) {
            (true, ..) => file.transfer_syntax.as_str(),
            (_, true, true) => EXPLICIT_VR_BIG_ENDIAN,
            (_, true, false) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            (_, false, _) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        };
        Ok(Deidentified {
            bytes: encode::file(&class, &sop_instance_uid, syntax, &body.bytes),
            patient,
            study_uid: self.uid(&set.line(tags::STUDY_INSTANCE_UID)),
            series_uid: self.uid(&set.line(tags::SERIES_INSTANCE_UID)),
            sop_instance_uid,
            warnings: warnings(set),
        })
    }

    /// The new identifier in place of `uid`; those that the standard itself defines stay.
    pub fn uid(&self, uid: &str) -> String {
        if uid.is_empty() || (uid.starts_with("1.2.840.10008.") && uid.len() < 40) {
            return uid.to_owned();
        }
        uid_from_name(&format!("{} uid {uid}", self.key))
    }

    fn hash(&self, what: &str) -> [u8; 32] {
        Sha256::digest(format!("{} {what}", self.key).as_bytes()).into()
    }

    /// By Patient ID and its issuer; by the name where there is no ID, by the study where there is neither.
    fn pseudonym(&self, set: DataSet<'_>) -> String {
        if let Some(patient) = &self.patient {
            return patient.clone();
        }
        let id = [set.line(tags::PATIENT_ID), set.line(tags::ISSUER_OF_PATIENT_ID)].join(" ");
        let who = [id.trim().to_owned(), set.line(tags::PATIENT_NAME), set.line(tags::STUDY_INSTANCE_UID)];
        let who = who.iter().find(|text| !text.is_empty()).map_or("", String::as_str);
        let digits: String = self.hash(&format!("patient {who}")).iter().take(5).map(|b| format!("{b:02X}")).collect();
        format!("P{digits}")
    }

    /// Days that the patient's dates are moved back by, 30 to 3,000.
    fn days(&self, set: DataSet<'_>) -> i64 {
        let [a, b, ..] = self.hash(&format!("days {}", self.pseudonym(set)));
        30 + i64::from(u16::from_be_bytes([a, b])) % 2971
    }
}

/// What a person must look at before pictures of a file leave, one sentence each: text that may be burned into the pixels.
pub fn pixel_warnings(file: &DicomFile) -> Vec<String> {
    warnings(file.data_set())
}

/// What may show a name all the same.
fn warnings(set: DataSet<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let modality = set.line(tags::MODALITY);
    let burned = set.line(tags::BURNED_IN_ANNOTATION);
    if burned == "YES" {
        warnings.push("Burned In Annotation is YES: text in the pixels names or may name the patient".to_owned());
    } else if burned != "NO" && ["US", "SC", "OT", "ES", "XC", "RF", "XA", "DOC", ""].contains(&modality.as_str()) {
        let what = if modality.is_empty() { "without a modality" } else { &modality };
        warnings.push(format!(
            "images {what} often have text burned into the pixels, and nothing says that this one has not"
        ));
    }
    if set.line(tags::RECOGNIZABLE_VISUAL_FEATURES) == "YES" {
        warnings.push("Recognizable Visual Features is YES: a face may be recognised".to_owned());
    }
    warnings
}

/// One file under way.
struct Work<'a> {
    by: &'a Deidentifier,
    days: i64,
    patient: String,
    dummy_dates: bool,
    encoding: super::Encoding,
}

impl Work<'_> {
    fn data_set(&self, set: DataSet<'_>, depth: usize, out: &mut Output) {
        let added = if depth == 0 { self.added() } else { Vec::new() };
        let mut elements: Vec<Element<'_>> = set
            .elements()
            .filter(|element| element.tag().0 > 2 && added.iter().all(|(tag, ..)| *tag != element.tag()))
            .collect();
        elements.sort_by_key(|element| element.tag());
        elements.dedup_by_key(|element| element.tag());
        // What the profile adds goes between the others, in the order of tags.
        let mut added = added.iter().peekable();
        for element in elements {
            while let Some((tag, vr, value)) = added.next_if(|(tag, ..)| *tag < element.tag()) {
                out.element(*tag, *vr, value.as_bytes());
            }
            self.element(element, depth, out);
        }
        for (tag, vr, value) in added {
            out.element(*tag, *vr, value.as_bytes());
        }
    }

    /// Attributes that say what was done, and the pseudonym, by tag.
    fn added(&self) -> Vec<(Tag, VR, String)> {
        let mut method = "PS3.15 Basic Application Confidentiality Profile".to_owned();
        if self.by.retain.patient_characteristics {
            method += "\\Retain Patient Characteristics";
        }
        if self.by.retain.shifted_dates {
            method += "\\Retain Longitudinal Temporal Information With Modified Dates";
        }
        let dates = if self.by.retain.shifted_dates { "MODIFIED" } else { "REMOVED" };
        vec![
            (tags::PATIENT_NAME, VR::PN, self.patient.clone()),
            (tags::PATIENT_ID, VR::LO, self.patient.clone()),
            (tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES".to_owned()),
            (tags::DEIDENTIFICATION_METHOD, VR::LO, method),
            (tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, dates.to_owned()),
        ]
    }

    fn element(&self, element: Element<'_>, depth: usize, out: &mut Output) {
        let (tag, vr) = (element.tag(), element.vr());
        match rules::rule(tag, vr, element.is_sequence(), self.by.retain) {
            Rule::Remove => {}
            Rule::Empty => out.element(tag, vr, b""),
            Rule::Uid => {
                let values: Vec<String> = element.strings().iter().map(|uid| self.by.uid(uid)).collect();
                out.element(tag, vr, values.join("\\").as_bytes());
            }
            Rule::Date => match self.date(&element.text(), vr) {
                Some(value) => out.element(tag, vr, value.as_bytes()),
                None if rules::wants_date(tag) => out.element(tag, vr, b""),
                None => {}
            },
            Rule::Serial => {
                if self.dummy_dates {
                    out.element(tag, vr, b"REMOVED");
                }
            }
            Rule::Keep if element.is_sequence() => {
                if depth < DEEPEST {
                    let items = element.items().map(|item| {
                        let mut inner = Output::new(self.encoding);
                        self.data_set(item, depth + 1, &mut inner);
                        inner.bytes
                    });
                    out.sequence(tag, items.collect());
                }
            }
            Rule::Keep if element.is_encapsulated() => out.fragments(tag, element.fragments()),
            Rule::Keep => out.element(tag, vr, element.bytes()),
        }
    }

    /// The shifted date, or a dummy where the object wants one; `None` where it goes.
    fn date(&self, text: &str, vr: VR) -> Option<String> {
        if self.by.retain.shifted_dates {
            return match vr {
                VR::TM => Some(text.to_owned()),
                _ => rules::shifted(text, self.days),
            };
        }
        let dummy = match vr {
            VR::TM => "000000",
            VR::DT => "19000101000000",
            _ => "19000101",
        };
        self.dummy_dates.then(|| dummy.to_owned())
    }
}

#[cfg(test)]
mod tests;
