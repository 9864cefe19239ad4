//! `bifocal render`: one slice as PNG, drawn as the viewport draws it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use bifocal_core::dicom::index_paths;
use bifocal_core::dicom::pixels::read_frame;
use bifocal_core::render::{
    Colormap, CornerTexts, HeatStyle, Placement, Rgba, ViewTransform, Voi, blend_heat, color_bar, draw_corner_texts,
    draw_edge_letters, draw_label, draw_ruler, native_size, place_values, render_slice, text_size,
};
use bifocal_core::study::{Frame, Series, Study, StudyIndex, Suv, VoiFunction, Window};
use bifocal_core::volume::{Plane, PlaneKind, Projection, Slab, Vector, Volume};

/// Arguments of `bifocal render`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file, a folder or a ZIP archive.
    path: PathBuf,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The image to draw, by its place in the series, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    slice: usize,
    /// Series Instance UID; the first series with images where none is given.
    #[arg(long, value_name = "UID")]
    series: Option<String>,
    /// Window centre and width in the image's units; what the file asks for where none is given, else automatic.
    #[arg(long, value_name = "C,W", allow_hyphen_values = true)]
    window: Option<WindowArgument>,
    /// Size of the picture in pixels, the image fitted into it on black; the image's own size where none is given.
    #[arg(long, value_name = "WxH")]
    size: Option<SizeArgument>,
    /// Exchanges black and white.
    #[arg(long)]
    invert: bool,
    /// Colours for gray images: ember, orchid, lagoon, meadow, hot-iron or gray.
    #[arg(long, value_name = "NAME")]
    colormap: Option<Colormap>,
    /// Draws corner texts (they name the patient), orientation letters and ruler.
    #[arg(long)]
    corner_texts: bool,
    /// Cuts a plane out of the whole series: axial, coronal, sagittal (by the patient) or acquired.
    #[arg(long, value_name = "NAME", conflicts_with = "slice")]
    plane: Option<PlaneKind>,
    /// Thickness of the plane in mm, projected.
    #[arg(long, value_name = "MM", requires = "plane", default_value_t = 0.0)]
    slab: f64,
    /// What is shown of a thick plane: mip, minip or mean.
    #[arg(long, value_name = "NAME", requires = "slab", default_value = "mip")]
    projection: Projection,
    /// A point of the plane: patient coordinates x,y,z in mm (to the left, to the back, to the head); the volume's middle where
    /// none is given.
    #[arg(long, value_name = "X,Y,Z", requires = "plane", allow_hyphen_values = true)]
    at: Option<PointArgument>,
    /// Lays another series of the same frame of reference over it, PET as SUV where its files allow: a Series Instance UID in PATH, or a file,
    /// folder or archive, whose first such series is taken.
    #[arg(long, value_name = "OTHER")]
    over: Option<String>,
    /// Values of the series laid over that get the first and the last colour, in its unit; 0 to 7 for SUV, else its own window.
    #[arg(long, value_name = "LOW,HIGH", requires = "over", allow_hyphen_values = true)]
    over_range: Option<RangeArgument>,
    /// Colours of the series laid over, as for --colormap.
    #[arg(long, value_name = "NAME", requires = "over", default_value = "hot-iron")]
    over_colormap: Colormap,
    /// Opacity of the series laid over, 0 to 1.
    #[arg(long, value_name = "SHARE", requires = "over", default_value_t = 0.6)]
    opacity: f32,
}

/// Two values that rise.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RangeArgument([f32; 2]);

impl FromStr for RangeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<f32>().ok().filter(|v| v.is_finite());
        let ends = text.split_once(',').and_then(|(low, high)| Some([number(low)?, number(high)?]));
        ends.filter(|[low, high]| low < high).map(Self).ok_or("give two numbers that rise, as in 0,7".to_owned())
    }
}

/// A point in the patient, mm.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PointArgument(Vector);

impl FromStr for PointArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
        let point = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
        point.map(Self).ok_or("give three numbers, as in 12.5,-30,140".to_owned())
    }
}

/// Centre and width.
#[derive(Debug, Clone, PartialEq)]
struct WindowArgument(Window);

impl FromStr for WindowArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (center, width) = text.split_once(',').ok_or("give centre and width, as in 40,400")?;
        let number = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or(format!("{text:?} is not a number"))
        };
        let (center, width) = (number(center)?, number(width)?);
        if width <= 0.0 {
            return Err("the width must be positive".to_owned());
        }
        // The standard's linear function needs a width of at least 1; narrow windows of maps are meant exactly.
        let function = if width >= 1.0 { VoiFunction::Linear } else { VoiFunction::LinearExact };
        Ok(Self(Window { function, ..Window::linear(center, width) }))
    }
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeArgument(usize, usize);

/// Longest side that is drawn.
const MOST_PIXELS: usize = 16_384;

impl FromStr for SizeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X', '×']).ok_or("give width and height, as in 1024x768")?;
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(count @ 1..=MOST_PIXELS) => Ok(count),
            _ => Err(format!("{text:?} is not a number from 1 to {MOST_PIXELS}")),
        };
        Ok(Self(number(width)?, number(height)?))
    }
}

/// Runs the subcommand. Exit codes: 0 drawn, 1 the image could not be read or the picture not written, 2 wrong use.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wrong_use = |message: String| {
        eprintln!("bifocal: {message}");
        Ok(ExitCode::from(2))
    };
    if !args.path.exists() {
        return wrong_use(format!("{}: there is no such file or folder", args.path.display()));
    }
    let index = index_paths(std::slice::from_ref(&args.path), &super::progress::task())?;
    let Some((study, series)) = find_series(&index, args.series.as_deref()) else {
        if let Some(uid) = &args.series {
            return wrong_use(format!("{}: no series {uid} with images", args.path.display()));
        }
        let causes: Vec<String> = index.problems.iter().take(5).map(ToString::to_string).collect();
        anyhow::bail!("{}: no image found\n{}", args.path.display(), causes.join("\n"));
    };
    let frame = if let Some(plane) = args.plane {
        if !(0.0..=10_000.0).contains(&args.slab) {
            return wrong_use(format!("--slab {}: give a thickness from 0 to 10000 mm", args.slab));
        }
        reformat(&args, series, plane)?
    } else {
        let Some((instance, frame_index)) = series.frame_at(args.slice) else {
            let last = series.frame_count().saturating_sub(1);
            return wrong_use(format!("the series has images 0 to {last}, not {}", args.slice));
        };
        let frame = read_frame(&instance.source, frame_index)?;
        for warning in &frame.display.warnings {
            eprintln!("bifocal: warning: {}: {warning}", instance.source);
        }
        frame
    };
    let mut voi = args.window.as_ref().map_or_else(|| Voi::of_frame(&frame), |window| Voi::window(window.0.clone()));
    voi.inverted = args.invert;
    let view = ViewTransform::default();
    let (width, height) = args.size.map_or_else(|| native_size(&frame), |size| (size.0, size.1));
    let (mut picture, placement) = render_slice(&frame, &voi, &view, args.colormap, (width, height));
    if let Some(other) = &args.over {
        if !(0.0..=1.0).contains(&args.opacity) {
            return wrong_use(format!("--opacity {}: give a share from 0 to 1", args.opacity));
        }
        let (volume, style) = over(&args, &index, series, other)?;
        lay_over(&mut picture, &args, &frame, &placement, &volume, &style)?;
    }
    if args.corner_texts {
        let size = text_size(width, height);
        let zoom = placement.points_per_column();
        let mut texts = CornerTexts::new(study, series, args.slice, &frame, &voi, zoom);
        if let (Some(plane), Some(first)) = (args.plane, texts.bottom_left.first_mut()) {
            let projection = if args.slab > 0.0 { format!(" {}", args.projection.name()) } else { String::new() };
            *first = format!("{}{projection}", plane.name());
        }
        draw_corner_texts(&mut picture, &texts, size);
        draw_edge_letters(&mut picture, &frame, &view, size * 1.3);
        draw_ruler(&mut picture, &frame, &placement, size);
    }
    write(&args.out, &picture.to_png().context("the picture cannot be encoded")?)?;
    Ok(ExitCode::SUCCESS)
}

/// The series to lay over, and how.
fn over(args: &Args, index: &StudyIndex, base: &Series, other: &str) -> anyhow::Result<(Volume, HeatStyle)> {
    let path = Path::new(other).to_path_buf();
    let named = find_series(index, Some(other)).map(|(_, series)| series.clone());
    let series = match named {
        Some(series) => {
            series.in_space_of(base).map_err(|why| anyhow::anyhow!("--over {other}: {why}"))?;
            series
        }
        None if path.exists() => {
            let index = index_paths(&[path], &super::progress::task())?;
            let all = index.studies.into_iter().flat_map(|study| study.series);
            let mut others = all.filter(|series| series.frame_count() > 0 && series.uid != base.uid);
            others
                .find(|series| series.in_space_of(base).is_ok())
                .with_context(|| format!("--over {other}: no other series in the frame of reference of this one"))?
        }
        None => anyhow::bail!("--over {other}: there is no such series in {}, and no such file", args.path.display()),
    };
    let middle = series.frame_count() / 2;
    let volume = Volume::build(&series, middle, &super::progress::task())
        .with_context(|| format!("--over {other}: the series is no volume"))?
        .in_usual_units();
    let units = &volume.display.units;
    match &volume.display.suv {
        Some(Suv::Unknown(reason)) => eprintln!("bifocal: laid over in {units}, no SUV: {reason}"),
        _ => eprintln!("bifocal: laid over: {} {} in {units}", series.modality, series.description),
    }
    let middle = Plane::of_slice(&volume.grid, volume.grid.shape()[0] / 2);
    let style = HeatStyle {
        colormap: args.over_colormap,
        opacity: args.opacity,
        ..HeatStyle::fusion(&volume.reformat(&middle, Slab::default()))
    };
    let style = args.over_range.map_or(style, |range| style.between(range.0));
    Ok((volume, style))
}

/// Draws a volume where it lies on the frame; with corner texts also what its colours mean.
fn lay_over(
    picture: &mut Rgba,
    args: &Args,
    frame: &Frame,
    placement: &Placement,
    volume: &Volume,
    style: &HeatStyle,
) -> anyhow::Result<()> {
    let plane = Plane::of_frame(&frame.display, frame.shape())
        .context("--over: the file does not tell where the image lies in the patient")?;
    let values = volume.sample(&plane, Slab { thickness_mm: args.slab, projection: Projection::Mip });
    blend_heat(picture, &place_values(&values, placement, picture.width, picture.height), style);
    if args.corner_texts {
        let size = text_size(picture.width, picture.height);
        let (width, height) = (size * 0.8, picture.height as f32 * 0.26);
        let (left, top) = (size * 2.5, (picture.height as f32 - height) / 2.0);
        picture.draw(&color_bar(width as usize, height as usize, style), left as i64, top as i64);
        let [low, high] = style.range;
        let right = left + width * 1.4;
        draw_label(picture, (left, top - size * 0.6), size, &volume.display.units);
        draw_label(picture, (right, top + size * 0.8), size, &high.to_string());
        draw_label(picture, (right, top + height), size, &low.to_string());
    }
    Ok(())
}

/// The plane asked for, as a frame.
fn reformat(args: &Args, series: &Series, kind: PlaneKind) -> anyhow::Result<Frame> {
    let volume = Volume::build(series, 0, &super::progress::task())
        .with_context(|| format!("{}: the series cannot be cut: it is no volume", args.path.display()))?;
    for note in &volume.notes {
        eprintln!("bifocal: {note}");
    }
    let grid = &volume.grid;
    let through = args.at.map_or_else(|| grid.center(), |at| at.0);
    let slab = Slab { thickness_mm: args.slab, projection: args.projection };
    let corner = grid.patient_from_voxel([0.0; 3]);
    let orientation = kind.orientation(grid);
    let plane = Plane::across(grid, orientation, through, corner, slab.thickness_mm, orientation.spacing_mm(grid));
    let Some(plane) = plane else {
        let range = |axis: usize| {
            let corners = grid.corners().map(|corner| corner[axis]);
            let low = corners.iter().copied().fold(f64::INFINITY, f64::min);
            format!("{low:.0} to {:.0}", corners.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        };
        anyhow::bail!("the plane misses the volume, which spans x {}, y {}, z {} mm", range(0), range(1), range(2));
    };
    Ok(volume.reformat(&plane, slab))
}

fn write(path: &Path, png: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    std::fs::write(path, png).with_context(|| format!("{}: cannot be written", path.display()))
}

/// The series with that UID, or the first one, among those with images.
fn find_series<'a>(index: &'a StudyIndex, uid: Option<&str>) -> Option<(&'a Study, &'a Series)> {
    let all = index.studies.iter().flat_map(|study| study.series.iter().map(move |series| (study, series)));
    all.into_iter().find(|(_, series)| series.frame_count() > 0 && uid.is_none_or(|uid| series.uid.0 == uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(path: &Path, out: &Path) -> Args {
        Args {
            path: path.to_path_buf(),
            out: out.to_path_buf(),
            slice: 0,
            series: None,
            window: None,
            size: None,
            invert: false,
            colormap: None,
            corner_texts: false,
            plane: None,
            slab: 0.0,
            projection: Projection::Mip,
            at: None,
            over: None,
            over_range: None,
            over_colormap: Colormap::HotIron,
            opacity: 0.6,
        }
    }

    fn code(args: Args) -> String {
        format!("{:?}", run(args).expect("it runs"))
    }

    #[test]
    fn windows_and_sizes_are_read() {
        let window = "-500,1500".parse::<WindowArgument>().expect("a window").0;
        assert_eq!((window.center, window.width, window.function), (-500.0, 1500.0, VoiFunction::Linear));
        let narrow = "0.5, 0.4".parse::<WindowArgument>().expect("a window").0;
        assert_eq!(narrow.function, VoiFunction::LinearExact);
        for wrong in ["", "40", "a,b", "40,0", "40,-1", "nan,1", "1,inf"] {
            assert!(wrong.parse::<WindowArgument>().is_err(), "{wrong}");
        }
        assert_eq!("640x480".parse(), Ok(SizeArgument(640, 480)));
        for wrong in ["640", "0x1", "1x99999999", "-1x5"] {
            assert!(wrong.parse::<SizeArgument>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_picture_is_drawn_through_its_window() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, out) = (folder.path().join("ramp.png"), folder.path().join("new/out.png"));
        image::GrayImage::from_fn(100, 50, |x, _| image::Luma([x as u8])).save(&source).expect("written");
        let mut args = arguments(&source, &out);
        args.window = Some("50,101".parse().expect("a window"));
        assert_eq!(code(args), format!("{:?}", ExitCode::SUCCESS));
        let drawn = image::open(&out).expect("a PNG").to_luma8();
        assert_eq!(drawn.dimensions(), (100, 50));
        for x in 0..100_u32 {
            // PS3.3 C.11.2.1.2.1 with centre 50 and width 101.
            let expected = ((f64::from(x) - 49.5) / 100.0 + 0.5) * 255.0;
            assert!((f64::from(drawn.get_pixel(x, 7).0[0]) - expected).abs() <= 0.51, "at {x}");
        }
        let mut args = arguments(&source, &out);
        args.size = Some(SizeArgument(80, 80));
        args.corner_texts = true;
        args.invert = true;
        args.colormap = Some(Colormap::Lagoon);
        assert_eq!(code(args), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(image::open(&out).expect("a PNG").to_rgb8().dimensions(), (80, 80));
    }

    #[test]
    fn planes_are_cut_out_of_the_sample() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/ct");
        let out = folder.path().join("coronal.png");
        let mut args = arguments(&sample, &out);
        args.plane = Some(PlaneKind::Coronal);
        args.slab = 10.0;
        args.corner_texts = true;
        assert_eq!(code(args), format!("{:?}", ExitCode::SUCCESS));
        let drawn = image::open(&out).expect("a PNG").to_luma8();
        assert!(drawn.pixels().any(|p| p.0[0] > 200) && drawn.pixels().any(|p| p.0[0] < 20));
        let mut args = arguments(&sample, &out);
        args.plane = Some(PlaneKind::Axial);
        args.at = Some("0,0,-90000".parse().expect("a point"));
        assert!(run(args).expect_err("it misses").to_string().contains("misses the volume"));
        assert!("1,2".parse::<PointArgument>().is_err() && "1,2,nan".parse::<PointArgument>().is_err());
        // A single picture is no volume.
        let picture = folder.path().join("one.png");
        image::GrayImage::new(4, 4).save(&picture).expect("written");
        let mut args = arguments(&picture, &out);
        args.plane = Some(PlaneKind::Axial);
        assert!(format!("{:#}", run(args).expect_err("no volume")).contains("one.png"));
    }

    #[test]
    fn a_series_is_laid_over_only_where_it_lies() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
        let out = folder.path().join("over.png");
        let mut args = arguments(&sample.join("ct"), &out);
        args.over = Some(sample.join("dx").display().to_string());
        assert!(run(args).expect_err("another space").to_string().contains("frame of reference"));
        let mut args = arguments(&sample.join("ct"), &out);
        args.over = Some("1.2.3".to_owned());
        assert!(run(args).expect_err("unknown").to_string().contains("no such series"));
        assert_eq!("0, 7".parse(), Ok(RangeArgument([0.0, 7.0])));
        for wrong in ["7", "7,0", "a,b", "1,1", "0,inf"] {
            assert!(wrong.parse::<RangeArgument>().is_err(), "{wrong}");
        }
        assert!(!out.exists());
    }

    #[test]
    fn wrong_use_is_told_apart_from_failure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, out) = (folder.path().join("ramp.png"), folder.path().join("out.png"));
        image::GrayImage::new(4, 4).save(&source).expect("written");
        let two = format!("{:?}", ExitCode::from(2));
        assert_eq!(code(arguments(&folder.path().join("absent"), &out)), two);
        assert_eq!(code(Args { slice: 1, ..arguments(&source, &out) }), two);
        assert_eq!(code(Args { series: Some("1.2".to_owned()), ..arguments(&source, &out) }), two);
        let text = folder.path().join("text.txt");
        std::fs::write(&text, "no image").expect("written");
        assert!(run(arguments(&text, &out)).is_err());
        assert!(!out.exists());
    }
}
