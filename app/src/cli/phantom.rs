//! `bifocal phantom`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bifocal_core::dicom::{
    Code, CtSlice, DxImage, ImageContext, Injection, PetSlice, uid_from_name, write_ct, write_dx, write_pet,
};
use bifocal_core::phantom::{
    Options, Phantom, SOURCE_TO_DETECTOR_MM, Sex, SlabSet, simulate, simulate_pet, write_slab_set,
};
use bifocal_core::study::{PlaneGeometry, Window};
use bifocal_core::task::Task;
use ndarray::{Axis, s};

/// Arguments of `bifocal phantom`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Chooses the patient, the lesions and the noise; the same seed gives the same files.
    #[arg(long)]
    seed: u64,
    /// Folder for `ct/`, `dx/`, `truth/` and README.md.
    #[arg(long)]
    out: PathBuf,
    /// Write into a folder that is not empty: files of the same name are replaced.
    #[arg(long)]
    force: bool,
    /// Rows and columns of a CT slice.
    #[arg(long, default_value_t = 288, value_parser = clap::value_parser!(u16).range(16..=1024))]
    ct_size: u16,
    /// Distance and thickness of the CT slices, mm.
    #[arg(long, default_value_t = 2.5, value_parser = slice_distance)]
    ct_slice_mm: f32,
    /// Also writes `pet/`: a PET of the same patient in the CT's frame of reference, on coarser voxels, with what SUV takes.
    #[arg(long)]
    pet: bool,
    /// Rows and columns of the radiograph.
    #[arg(long, default_value_t = 1536, value_parser = clap::value_parser!(u16).range(64..=4096))]
    dx_size: u16,
}

fn slice_distance(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(mm) if (0.5..=20.0).contains(&mm) => Ok(mm),
        _ => Err("a number of millimetres from 0.5 to 20".to_owned()),
    }
}

/// Runs the subcommand. Exit code 2 where the folder is not empty and `--force` is not given.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let out = &args.out;
    if !args.force && fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        eprintln!("bifocal: {} is not empty; give --force to write into it", out.display());
        return Ok(ExitCode::from(2));
    }
    let options = Options {
        ct_size: usize::from(args.ct_size),
        ct_slice_mm: args.ct_slice_mm,
        radiograph_size: usize::from(args.dx_size),
        ..Options::new(args.seed)
    };
    let task = super::progress::task();
    let phantom = simulate(options, &task)?;
    for folder in ["ct", "dx", "truth"] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    write_series(&phantom, &out.join("ct"), &task)?;
    write_radiograph(&phantom, &out.join("dx"))?;
    if args.pet {
        write_pet_series(&phantom, &out.join("pet"), &task)?;
    }
    let truth = phantom.write_truth(&out.join("truth"))?;
    let path = out.join("README.md");
    fs::write(&path, readme(&args)).with_context(|| path.display().to_string())?;
    println!(
        "{}: {} CT slices, 1 radiograph, {} lesions (simulated)",
        out.display(),
        phantom.ct.hu.dim().0,
        truth.lesions.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Arguments of `bifocal phantom-slabs`.
#[derive(Debug, clap::Args)]
pub(super) struct SlabArgs {
    /// Seed of the first patient; the others follow.
    #[arg(long)]
    seed: u64,
    /// Patients.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    patients: u64,
    /// Folder for `images/` and `coco.json`; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Rows and columns of a slice.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(16..=1024))]
    size: u16,
    /// Distance of slices and of the neighbours in a slab, mm.
    #[arg(long, default_value_t = 2.5, value_parser = slice_distance)]
    spacing_mm: f32,
    /// One slab every so many slices.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    every: u16,
    /// HU that become black and white.
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], default_values_t = [-1000.0, 400.0], allow_hyphen_values = true)]
    window: Vec<f32>,
    /// Nodules a patient besides the usual four.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=40))]
    extra_nodules: u8,
}

/// Runs `bifocal phantom-slabs`.
pub(super) fn run_slabs(args: SlabArgs) -> anyhow::Result<ExitCode> {
    let &[low, high] = args.window.as_slice() else { anyhow::bail!("--window takes two values") };
    if !low.is_finite() || !high.is_finite() || low >= high {
        eprintln!("bifocal: --window must rise");
        return Ok(ExitCode::from(2));
    }
    let set = SlabSet {
        seed: args.seed,
        patients: args.patients,
        size: usize::from(args.size),
        spacing_mm: args.spacing_mm,
        every: usize::from(args.every),
        window: [low, high],
        extra_nodules: usize::from(args.extra_nodules),
    };
    let count = write_slab_set(&set, &args.out, &super::progress::task())?;
    println!("{}: {count} slabs of {} patients (simulated)", args.out.display(), args.patients);
    Ok(ExitCode::SUCCESS)
}

/// What both examinations share. Dates are fixed, so that the files are reproducible.
fn context(phantom: &Phantom) -> ImageContext {
    let seed = phantom.options.seed;
    ImageContext {
        patient_name: format!("Phantom^Seed {seed}"),
        patient_id: format!("PHANTOM-{seed}"),
        patient_sex: if phantom.habitus.sex == Sex::Male { "M" } else { "F" }.to_owned(),
        patient_age: format!("{:03}Y", phantom.habitus.age),
        body_part: "CHEST".to_owned(),
        manufacturer: "Bifocal".to_owned(),
        model_name: "SIMULATED phantom".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        comments: format!("SIMULATED by `bifocal phantom --seed {seed}`: not a person"),
        phantom: true,
        ..ImageContext::default()
    }
}

/// Everything that changes the content is part of the name, so that different files never share an identifier.
fn uid(phantom: &Phantom, what: &str) -> String {
    let o = &phantom.options;
    let version = env!("CARGO_PKG_VERSION");
    uid_from_name(&format!(
        "bifocal {version} phantom {} {} {} {} {what}",
        o.seed, o.ct_size, o.ct_slice_mm, o.radiograph_size
    ))
}

fn write_series(phantom: &Phantom, folder: &Path, task: &Task) -> anyhow::Result<()> {
    let context = ImageContext {
        study_uid: uid(phantom, "ct study"),
        study_id: "CT".to_owned(),
        study_description: "SIMULATED CT thorax".to_owned(),
        accession_number: format!("SIM{}CT", phantom.options.seed),
        series_uid: uid(phantom, "ct series"),
        series_number: 2,
        series_description: format!("SIMULATED thorax {} mm", phantom.options.ct_slice_mm),
        date: "20260112".to_owned(),
        time: "091500".to_owned(),
        ..context(phantom)
    };
    let ct = &phantom.ct;
    let slices = ct.hu.dim().0;
    let [slice_mm, row_mm, column_mm] = ct.spacing_mm;
    let window = |name: &str, center, width| Window { name: name.to_owned(), ..Window::linear(center, width) };
    for (index, hu) in ct.hu.axis_iter(Axis(0)).enumerate() {
        // Numbered from the head, as scanners do.
        let number = slices - index;
        let [x, y, z] = ct.origin_mm;
        let slice = CtSlice {
            sop_instance_uid: uid(phantom, &format!("ct {number}")),
            number: number as u32,
            hu,
            geometry: PlaneGeometry {
                position: [x, y, z + slice_mm * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [row_mm, column_mm],
            thickness_mm: slice_mm,
            field_mm: column_mm * ct.hu.dim().2 as f64,
            frame_of_reference_uid: uid(phantom, "ct frame of reference"),
            kvp: 120.0,
            patient_position: "HFS".to_owned(),
            contrast: "SIMULATED iodine".to_owned(),
            windows: vec![
                window("LUNG", -600.0, 1500.0),
                window("MEDIASTINUM", 50.0, 400.0),
                window("BONE", 400.0, 1800.0),
            ],
        };
        task.check()?;
        write_ct(&folder.join(format!("ct-{number:03}.dcm")), &context, &slice)?;
        task.progress("Writing CT", index as u64 + 1, slices as u64);
    }
    Ok(())
}

/// The PET of the same examination: an hour after the injection.
fn write_pet_series(phantom: &Phantom, folder: &Path, task: &Task) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let context = ImageContext {
        study_uid: uid(phantom, "ct study"),
        study_id: "CT".to_owned(),
        study_description: "SIMULATED CT thorax".to_owned(),
        accession_number: format!("SIM{}CT", phantom.options.seed),
        series_uid: uid(phantom, "pet series"),
        series_number: 3,
        series_description: "SIMULATED FDG PET".to_owned(),
        date: "20260112".to_owned(),
        time: "092000".to_owned(),
        ..context(phantom)
    };
    let injection = Injection { weight_kg: 74.0, dose_bq: 2.6e8, time: "082000".to_owned() };
    let suv_1 = injection.activity_of_suv_1(3600.0);
    let pet = simulate_pet(&phantom.lesions, &phantom.ct, phantom.options.seed, task)?;
    let [slice_mm, row_mm, column_mm] = pet.spacing_mm;
    let slices = pet.suv.dim().0;
    for (index, suv) in pet.suv.axis_iter(Axis(0)).enumerate() {
        let number = slices - index;
        let [x, y, z] = pet.origin_mm;
        let activity = suv.mapv(|suv| f64::from(suv) * suv_1);
        let slice = PetSlice {
            sop_instance_uid: uid(phantom, &format!("pet {number}")),
            number: number as u16,
            slices: slices as u16,
            activity: activity.view(),
            geometry: PlaneGeometry {
                position: [x, y, z + slice_mm * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [row_mm, column_mm],
            thickness_mm: slice_mm,
            frame_of_reference_uid: uid(phantom, "ct frame of reference"),
            patient_position: "HFS".to_owned(),
            injection: injection.clone(),
        };
        task.check()?;
        write_pet(&folder.join(format!("pet-{number:03}.dcm")), &context, &slice)?;
        task.progress("Writing PET", index as u64 + 1, slices as u64);
    }
    Ok(())
}

fn write_radiograph(phantom: &Phantom, folder: &Path) -> anyhow::Result<()> {
    let context = ImageContext {
        study_uid: uid(phantom, "dx study"),
        study_id: "DX".to_owned(),
        study_description: "SIMULATED chest radiograph".to_owned(),
        accession_number: format!("SIM{}DX", phantom.options.seed),
        series_uid: uid(phantom, "dx series"),
        series_number: 1,
        series_description: "SIMULATED chest PA".to_owned(),
        date: "20260115".to_owned(),
        time: "103000".to_owned(),
        ..context(phantom)
    };
    let radiograph = &phantom.radiograph;
    let [top, left, rows, columns] = radiograph.field;
    let image = DxImage {
        sop_instance_uid: uid(phantom, "dx 1"),
        number: 1,
        pixels: radiograph.pixels.slice(s![.., ..]),
        imager_spacing_mm: [radiograph.pixel_mm; 2],
        patient_orientation: ["L".to_owned(), "F".to_owned()],
        view_position: "PA".to_owned(),
        view: Code { value: "399348003", scheme: "SCT", meaning: "postero-anterior" },
        region: Code { value: "51185008", scheme: "SCT", meaning: "Chest" },
        source_to_detector_mm: SOURCE_TO_DETECTOR_MM,
        source_to_patient_mm: radiograph.source_to_patient_mm,
        kvp: 110.0,
        field: [top + 1, top + rows, left + 1, left + columns],
        windows: vec![Window { name: "NORMAL".to_owned(), ..Window::linear(2048.0, 4096.0) }],
    };
    write_dx(&folder.join("dx-001.dcm"), &context, &image)?;
    Ok(())
}

fn readme(args: &Args) -> String {
    let mut command = format!("bifocal phantom --seed {} --out DIR", args.seed);
    let standard = Options::new(args.seed);
    if usize::from(args.ct_size) != standard.ct_size {
        command += &format!(" --ct-size {}", args.ct_size);
    }
    if args.ct_slice_mm != standard.ct_slice_mm {
        command += &format!(" --ct-slice-mm {}", args.ct_slice_mm);
    }
    if usize::from(args.dx_size) != standard.radiograph_size {
        command += &format!(" --dx-size {}", args.dx_size);
    }
    let mut pet = "";
    if args.pet {
        command += " --pet";
        pet = "| `pet/` | FDG PET of the CT's examination and frame of reference, Bq/mL with weight, dose and times for SUV |\n";
    }
    format!(
        "# Simulated thorax\n\n\
         **Everything here is simulated.** No person was examined, and no image of a person went into it. Made by\n\n\
         ```\n{command}\n```\n\n\
         | folder | what is in it |\n|---|---|\n\
         | `ct/` | CT series, one file a slice, numbered from the head; contrast medium, arms raised |\n{pet}\
         | `dx/` | chest radiograph (PA, standing) of the same patient, for presentation, 12 bits |\n\
         | `truth/truth.json` | patient, grids, and each lesion: kind, lobe, centre (LPS, mm), size, HU, place in CT and radiograph |\n\
         | `truth/ct-masks.npz` | `organs` (1 left lung, 2 right lung, 3 cardiomediastinum) and `lesions` (their numbers), `[slice, row, column]`, slices from the feet |\n\
         | `truth/dx-masks.npz` | masks of organs and lesions projected onto the radiograph, `[row, column]`, 0 or 1 |\n\n\
         Left and right are the patient's. Boxes are column, row, width, height in pixels. The lungs' masks in the radiograph include\n\
         what lies behind heart and diaphragm.\n"
    )
}
