//! How long planes of a series take: `cargo run --release --example planes -- PATH`.

use std::path::PathBuf;
use std::time::Instant;

use bifocal_core::dicom::index_paths;
use bifocal_core::study::Series;
use bifocal_core::task::Task;
use bifocal_core::volume::{Plane, PlaneKind, Projection, Slab, Volume};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).map(PathBuf::from).ok_or("give a folder with a CT or MR series")?;
    let index = index_paths(&[path], &Task::new())?;
    let series = index.studies.iter().flat_map(|study| &study.series).max_by_key(|series| Series::frame_count(series));
    let started = Instant::now();
    let volume = Volume::build(series.ok_or("no series there")?, 0, &Task::new())?;
    let [slices, rows, columns] = volume.grid.shape();
    let mib = volume.bytes() as f64 / f64::from(1 << 20);
    println!("{slices} x {rows} x {columns} voxels, {mib:.0} MiB, built in {:.0} ms", milliseconds(started));
    let center = volume.grid.center();
    for degrees in [0.0_f64, 25.0] {
        for kind in PlaneKind::ORTHOGONAL {
            let orientation = kind.orientation(&volume.grid).rotated([0.6, 0.0, 0.8], degrees.to_radians());
            for thickness_mm in [0.0, 10.0] {
                let slab = Slab { thickness_mm, projection: Projection::Mip };
                let spacing = orientation.spacing_mm(&volume.grid);
                let plane = Plane::across(&volume.grid, orientation, center, center, thickness_mm, spacing);
                let plane = plane.ok_or("the plane misses the volume")?;
                // The best of several: what else the machine does is not the point.
                let times = (0..7).map(|_| {
                    let started = Instant::now();
                    std::hint::black_box(volume.sample(&plane, slab));
                    milliseconds(started)
                });
                let best = times.fold(f64::INFINITY, f64::min);
                let name = kind.name();
                println!(
                    "{name}, turned {degrees}°, {thickness_mm} mm: {} x {} pixels, {best:.1} ms",
                    plane.rows, plane.columns
                );
            }
        }
    }
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
