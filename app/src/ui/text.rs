//! Words for values: dates, names, sizes.

use bifocal_core::dicom::sop_class_name;
use bifocal_core::study::{Patient, Series, Study};

/// `20260102` as `2026-01-02`; anything else as it is.
pub fn date(dicom: &str) -> String {
    let digits = dicom.trim();
    match (digits.get(0..4), digits.get(4..6), digits.get(6..8)) {
        (Some(year), Some(month), Some(day)) if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{year}-{month}-{day}")
        }
        _ => digits.to_owned(),
    }
}

/// `103000.123` as `10:30`; anything shorter as it is.
pub fn time(dicom: &str) -> String {
    let digits = dicom.trim();
    match (digits.get(0..2), digits.get(2..4)) {
        (Some(hour), Some(minute)) => format!("{hour}:{minute}"),
        _ => digits.to_owned(),
    }
}

/// Milliseconds since 1970 as `2026-01-02 10:30`, UTC; a dash where no time was kept.
pub fn moment(at: Option<u64>) -> String {
    at.map_or_else(
        || "–".to_owned(),
        |at| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at);
            bifocal_core::report::readable_time(time).trim_end_matches(" UTC").to_owned()
        },
    )
}

/// A pixel's value: whole where it is, or large.
pub fn value(value: f64) -> String {
    let digits = if value.fract() == 0.0 || value.abs() >= 1000.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

/// The patient's name, else the id, else words that say so.
pub fn patient_name(patient: &Patient) -> String {
    [&patient.name, &patient.id]
        .into_iter()
        .find(|text| !text.trim().is_empty())
        .map_or_else(|| "Unnamed patient".to_owned(), |text| text.trim().to_owned())
}

/// Sex and age or birth date, as far as known: `F · 45 y`.
pub fn patient_detail(patient: &Patient) -> String {
    let age = age(&patient.age);
    let born = if age.is_empty() && !patient.birth_date.is_empty() {
        format!("born {}", date(&patient.birth_date))
    } else {
        age
    };
    join([patient.sex.trim().to_owned(), born])
}

/// `045Y` as `45 y`.
fn age(dicom: &str) -> String {
    let text = dicom.trim();
    let (Some(number), Some(unit)) = (text.get(..text.len().saturating_sub(1)), text.chars().last()) else {
        return String::new();
    };
    match (number.parse::<u32>(), unit) {
        (Ok(number), 'Y') => format!("{number} y"),
        (Ok(number), 'M') => format!("{number} mo"),
        (Ok(number), 'W') => format!("{number} wk"),
        (Ok(number), 'D') => format!("{number} d"),
        _ => text.to_owned(),
    }
}

/// Date, time and description of a study.
pub fn study_detail(study: &Study) -> String {
    let description = study.description.trim();
    let repeated = description == patient_name(&study.patient);
    join([date(&study.date), if repeated { String::new() } else { description.to_owned() }])
}

/// The series' description, else body part and view, else its number.
pub fn series_title(series: &Series) -> String {
    let description = series.description.trim();
    if !description.is_empty() {
        return description.to_owned();
    }
    let place = [series.body_part.trim(), series.view_position.trim(), series.laterality.trim()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if !place.is_empty() {
        return place;
    }
    series.number.map_or_else(|| "Series".to_owned(), |number| format!("Series {number}"))
}

/// Number of images and size of the first.
pub fn series_size(series: &Series) -> String {
    let images = series.frame_count();
    let size = series
        .instances
        .iter()
        .find(|instance| instance.frames > 0)
        .map(|instance| format!("{} × {}", instance.columns, instance.rows));
    let count = match images {
        0 => match series.instances.as_slice() {
            [] => "no objects".to_owned(),
            [only] => sop_class_name(&only.sop_class).to_owned(),
            [first, ..] => format!("{} × {}", series.instances.len(), sop_class_name(&first.sop_class)),
        },
        1 => String::new(),
        n => format!("{n} images"),
    };
    join([count, size.unwrap_or_default()])
}

/// With a capital letter, as sentences begin.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A length that was measured: `2.5 mm`, or micrometres where it is short.
pub fn length(mm: f64) -> String {
    if mm.abs() < 0.1 { format!("{:.1} µm", mm * 1000.0) } else { format!("{mm:.1} mm") }
}

/// A round length in the unit that keeps it short: `10 cm`, `5 mm`, `2 µm`.
pub fn round_length(mm: f64) -> String {
    if mm >= 10.0 {
        format!("{:.0} cm", mm / 10.0)
    } else if mm >= 0.1 {
        format!("{mm} mm")
    } else {
        format!("{} µm", (mm * 1e6).round() / 1e3)
    }
}

/// Non-empty parts, divided by a middle dot.
pub fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ·  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ages() {
        assert_eq!(date("20260102"), "2026-01-02");
        assert_eq!(date("2026.01.02"), "2026.01.02");
        assert_eq!(date("äöüäöü"), "äöüäöü");
        assert_eq!(time("103000.5"), "10:30");
        assert_eq!(age("045Y"), "45 y");
        assert_eq!(age("xY"), "xY");
        assert_eq!(age(""), "");
    }

    #[test]
    fn sentences_begin_with_a_capital() {
        assert_eq!(sentence("unlike others"), "Unlike others");
        assert_eq!(sentence("ärger"), "Ärger");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn lengths_have_fitting_units() {
        assert_eq!((length(2.5), length(0.0012)), ("2.5 mm".into(), "1.2 µm".into()));
        let round = [100.0, 5.0, 0.2, 0.002].map(round_length);
        assert_eq!(round, ["10 cm", "5 mm", "0.2 mm", "2 µm"]);
    }

    #[test]
    fn nameless_patients_have_words() {
        assert_eq!(patient_name(&Patient::default()), "Unnamed patient");
        assert_eq!(patient_name(&Patient { id: "7".into(), ..Patient::default() }), "7");
    }
}
