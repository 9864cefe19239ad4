//! `bifocal index`: the tree of patients, studies and series.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bifocal_core::dicom::{index_paths, sop_class_name};
use bifocal_core::study::{Problem, Series, Study, StudyIndex};

/// Arguments of `bifocal index`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders, ZIP archives or DICOMDIRs.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print the whole tree as JSON.
    #[arg(long)]
    json: bool,
    /// Print every remark with its file, not only how many there are of each kind.
    #[arg(long)]
    remarks: bool,
}

/// Runs the subcommand. Exit codes: 0 something can be opened, 1 nothing can, 2 a path does not exist.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let absent: Vec<_> = args.paths.iter().filter(|path| !path.exists()).collect();
    if !absent.is_empty() {
        for path in absent {
            eprintln!("bifocal: {}: no such file or folder", path.display());
        }
        return Ok(ExitCode::from(2));
    }
    let index = index_paths(&args.paths, &super::progress::task())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &index).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        print_tree(&mut out, &index, args.remarks)
    };
    match written.and_then(|()| out.flush()) {
        // The reader of a pipe may have seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if index.studies.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Studies, counts, then what cannot be used file by file, then what was odd by kind.
fn print_tree(out: &mut impl Write, index: &StudyIndex, all_remarks: bool) -> io::Result<()> {
    for study in &index.studies {
        print_study(out, study)?;
    }
    let series: usize = index.studies.iter().map(|study| study.series.len()).sum();
    let count = |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
    let studies = count(index.studies.len(), "study", "studies");
    let problems = count(index.problems.len(), "problem", "problems");
    let remarks = count(index.remarks.len(), "remark", "remarks");
    writeln!(out, "{studies}, {series} series, {problems}, {remarks}")?;
    for problem in &index.problems {
        writeln!(out, "  ! {problem}")?;
    }
    if all_remarks {
        for remark in &index.remarks {
            writeln!(out, "  · {remark}")?;
        }
        return Ok(());
    }
    for (kind, number, first) in Problem::by_kind(&index.remarks) {
        if number == 1 {
            writeln!(out, "  · {first}")?;
        } else {
            writeln!(out, "  · {number} × {kind} (first: {})", first.source)?;
        }
    }
    Ok(())
}

fn print_study(out: &mut impl Write, study: &Study) -> io::Result<()> {
    let patient = match (study.patient.name.as_str(), study.patient.id.as_str()) {
        ("", "") => "no patient".to_owned(),
        (name, "") => name.to_owned(),
        (name, id) => format!("{name} [{id}]"),
    };
    writeln!(out, "{patient}  {}  {}", date(&study.date), study.description)?;
    for series in &study.series {
        print_series(out, series)?;
    }
    Ok(())
}

fn print_series(out: &mut impl Write, series: &Series) -> io::Result<()> {
    let number = series.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let size = series.instances.first().map(|first| format!("{}x{}", first.columns, first.rows)).unwrap_or_default();
    let images = match series.frame_count() {
        0 => {
            let class = series.instances.first().map_or("", |first| first.sop_class.as_str());
            format!("no image: {}", sop_class_name(class))
        }
        1 => format!("1 image {size}"),
        frames => format!("{frames} images {size}"),
    };
    writeln!(out, "  {number:>4} {:<3} {images}  {}", series.modality, series.description)?;
    for note in &series.notes {
        writeln!(out, "       · {note}")?;
    }
    Ok(())
}

fn date(date: &str) -> String {
    match (date.get(..4), date.get(4..6), date.get(6..8)) {
        (Some(year), Some(month), Some(day)) if date.len() == 8 => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}
