//! The report of a reading: PDF for people, JSON for programs.
//!
//! [`layout`] turns a [`ReportInput`] into [`Page`]s of drawing primitives, which both [`report_pdf`] and [`rasterize`] (the
//! preview on the screen) paint: the page on the screen is the page that prints.

mod content;
mod faithfulness;
mod flow;
mod json;
mod layout;
mod measurements;
mod page;
mod panel;
mod pdf;
#[cfg(test)]
mod tests;
mod time;

pub use content::{
    ModelNotes, RESEARCH_USE_ONLY, ReportImage, ReportInput, ReportOptions, hashed_uid, in_volume, location,
    performance_line, performance_rank, readable_name, size,
};
pub use faithfulness::map_name;
pub use json::{REPORT_SCHEMA, report_json};
pub use layout::layout;
pub use page::{A4, Item, Page, rasterize};
pub use pdf::PdfError;

/// The report as a PDF file.
///
/// # Errors
/// Where an image cannot be embedded or the writer refuses.
pub fn report_pdf(input: &ReportInput<'_>, options: &ReportOptions) -> Result<Vec<u8>, PdfError> {
    pages_pdf(&layout(input, options), input)
}

/// Pages that were laid out before, as a PDF file.
///
/// # Errors
/// As [`report_pdf`].
pub fn pages_pdf(pages: &[Page], input: &ReportInput<'_>) -> Result<Vec<u8>, PdfError> {
    let about = pdf::About { title: "Bifocal image analysis report", created: time::Civil::from_system(input.created) };
    pdf::write(pages, &about)
}

/// Date and time of `time` in UTC as DICOM writes them: `YYYYMMDD` and `HHMMSS`.
pub fn dicom_date_time(time: std::time::SystemTime) -> (String, String) {
    let digits: String = time::Civil::from_system(time).iso().chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at(digits.len().min(8));
    (date.to_owned(), time.to_owned())
}

/// The date of `time` in UTC, `YYYY-MM-DD`.
pub fn iso_date(time: std::time::SystemTime) -> String {
    time::Civil::from_system(time).date()
}

/// For people: `2026-11-24 17:05 UTC`.
pub fn readable_time(time: std::time::SystemTime) -> String {
    time::Civil::from_system(time).readable()
}
