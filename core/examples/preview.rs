use bifocal_core::{phantom::*, task::Task};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut o = Options::new(a[1].parse().unwrap());
    o.radiograph_size = a[2].parse().unwrap();
    o.ct_size = a[3].parse().unwrap();
    if o.ct_size < 200 { o.ct_slice_mm = 5.0; }
    let t = std::time::Instant::now();
    let p = simulate(o, &Task::new()).unwrap();
    eprintln!("{:?} {:?}", t.elapsed(), p.habitus);
    let px = &p.radiograph.pixels;
    let im = image::GrayImage::from_raw(px.dim().1 as u32, px.dim().0 as u32, px.iter().map(|v| (v / 16) as u8).collect()).unwrap();
    im.save(format!("{}/dx-{}.png", a[4], a[1])).unwrap();
    std::fs::create_dir_all(format!("{}/truth", a[4])).unwrap();
    let tr = p.write_truth(std::path::Path::new(&format!("{}/truth", a[4]))).unwrap();
    for l in &tr.lesions { eprintln!("{:?} {} c {:?} ax {:?} hu {} ct {:?} dx {:?}", l.lesion.kind, l.lesion.lobe, l.lesion.center_mm, l.lesion.axes_mm, l.lesion.hu, l.ct.as_ref().map(|c| (c.equivalent_diameter_mm, c.mean_hu)), l.radiograph.as_ref().map(|r| (r.r#box, r.longest_path_mm))); }
    eprintln!("{:?}", tr.ct);
    ndarray_npy::write_npy(format!("{}/ct.npy", a[4]), &p.ct.hu).unwrap();
}
