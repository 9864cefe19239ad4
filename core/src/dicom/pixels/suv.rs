//! Standardised uptake values of PET images: SUV by body weight, as the QIBA profile for FDG-PET/CT computes it.

use dicom_dictionary_std::tags;

use super::super::DataSet;
use crate::study::Suv;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// From the image's units to SUVbw, or what the file lacks; `None` where it is no PET image.
pub(super) fn of(top: DataSet<'_>) -> Option<Suv> {
    if top.string(tags::MODALITY).as_deref() != Some("PT") {
        return None;
    }
    Some(match factor(top) {
        Ok(factor) => Suv::Factor(factor),
        Err(reason) => Suv::Unknown(reason),
    })
}

fn factor(top: DataSet<'_>) -> Result<f64, String> {
    let units = top.string(tags::UNITS).unwrap_or_default();
    if units == "GML" {
        return match top.string(tags::SUV_TYPE).as_deref() {
            None | Some("BW") => Ok(1.0),
            Some(other) => Err(format!("the values are SUV by {other}, not by body weight")),
        };
    }
    if units != "BQML" {
        return Err(format!(
            "the values are in {}, not Bq/mL",
            if units.is_empty() { "unknown units" } else { &units }
        ));
    }
    let positive = |value: Option<f64>, name: &str| {
        value.filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| format!("the file gives no {name}"))
    };
    let weight = positive(top.float(tags::PATIENT_WEIGHT), "patient's weight")?;
    let drug = top
        .item(tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE)
        .ok_or_else(|| "the file says nothing of the radiopharmaceutical".to_owned())?;
    let dose = positive(drug.float(tags::RADIONUCLIDE_TOTAL_DOSE), "injected dose")?;
    let decay = match top.string(tags::DECAY_CORRECTION).as_deref() {
        Some("ADMIN") => 1.0,
        Some("START") => {
            let half_life = positive(drug.float(tags::RADIONUCLIDE_HALF_LIFE), "half-life")?;
            0.5_f64.powf(seconds_to_scan(top, drug)? / half_life)
        }
        _ => return Err("the values are not corrected for decay".to_owned()),
    };
    Ok(weight * 1000.0 / (dose * decay))
}

/// From the injection to the time that decay is corrected to, the start of the series, seconds.
fn seconds_to_scan(top: DataSet<'_>, drug: DataSet<'_>) -> Result<f64, String> {
    let series = top.string(tags::SERIES_TIME).and_then(|text| clock(&text)).ok_or("the file gives no series time")?;
    let acquired = top.string(tags::ACQUISITION_TIME).and_then(|text| clock(&text));
    // A series made later from the same images has a later time than they have; decay was not corrected to that.
    let same_day = top.string(tags::SERIES_DATE) == top.string(tags::ACQUISITION_DATE);
    if acquired.is_some_and(|acquired| same_day && acquired < series) {
        return Err("the series is dated after its images: the time of decay correction is unknown".to_owned());
    }
    let start = drug
        .string(tags::RADIOPHARMACEUTICAL_START_TIME)
        .or_else(|| {
            drug.string(tags::RADIOPHARMACEUTICAL_START_DATE_TIME).and_then(|text| text.get(8..).map(str::to_owned))
        })
        .and_then(|text| clock(&text))
        .ok_or("the file gives no time of injection")?;
    let seconds = series - start;
    // Injected before midnight, scanned after.
    Ok(if seconds < 0.0 { seconds + SECONDS_PER_DAY } else { seconds })
}

/// A DICOM time (`HHMMSS.ffffff`, shorter allowed) as seconds of the day.
fn clock(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.split(['+', '-']).next()?;
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|digits| digits.parse::<f64>().ok());
    let seconds =
        digits.get(4..).map_or(Some(0.0), |rest| if rest.is_empty() { Some(0.0) } else { rest.parse().ok() })?;
    Some(part(0..2)? * 3600.0 + part(2..4).unwrap_or(0.0) * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(clock("101530.5"), Some(10.0 * 3600.0 + 15.0 * 60.0 + 30.5));
        assert_eq!(clock("1015"), Some(36_900.0));
        assert_eq!(clock("101530+0100"), Some(36_930.0));
        assert_eq!(clock("x"), None);
    }
}
