//! Files made here: what real ones seldom show, and what hostile ones would.

use super::*;
use crate::study::{ModalityTransform, SpacingKind, Suv, VoiFunction};

/// Explicit VR little endian elements, appended in order.
#[derive(Default, Clone)]
struct Builder(Vec<u8>);

impl Builder {
    fn new(syntax: &str) -> Self {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        Self(bytes).text(tags::TRANSFER_SYNTAX_UID, "UI", syntax).text(
            tags::SOP_CLASS_UID,
            "UI",
            "1.2.840.10008.5.1.4.1.1.7",
        )
    }

    fn raw(mut self, tag: super::super::Tag, vr: &str, value: &[u8]) -> Self {
        self.0.extend(tag.0.to_le_bytes());
        self.0.extend(tag.1.to_le_bytes());
        self.0.extend(vr.as_bytes());
        if matches!(vr, "OB" | "OW" | "SQ" | "OF" | "OD" | "UN") {
            self.0.extend([0, 0]);
            self.0.extend((value.len() as u32).to_le_bytes());
        } else {
            self.0.extend((value.len() as u16).to_le_bytes());
        }
        self.0.extend(value);
        self
    }

    fn text(self, tag: super::super::Tag, vr: &str, value: &str) -> Self {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.raw(tag, vr, &value)
    }

    fn us(self, tag: super::super::Tag, values: &[u16]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(tag, "US", &bytes)
    }

    fn sequence(self, tag: super::super::Tag, items: &[Builder]) -> Self {
        let mut bytes = Vec::new();
        for item in items {
            bytes.extend([0xFE, 0xFF, 0x00, 0xE0]);
            bytes.extend((item.0.len() as u32).to_le_bytes());
            bytes.extend(&item.0);
        }
        self.raw(tag, "SQ", &bytes)
    }

    fn image(self, rows: u16, columns: u16, bits: u16, signed: bool, photometric: &str) -> Self {
        self.us(tags::SAMPLES_PER_PIXEL, &[1])
            .text(tags::PHOTOMETRIC_INTERPRETATION, "CS", photometric)
            .us(tags::ROWS, &[rows])
            .us(tags::COLUMNS, &[columns])
            .us(tags::BITS_ALLOCATED, &[if bits > 8 { 16 } else { 8 }])
            .us(tags::BITS_STORED, &[bits])
            .us(tags::HIGH_BIT, &[bits - 1])
            .us(tags::PIXEL_REPRESENTATION, &[u16::from(signed)])
    }

    fn encapsulated(mut self, table: &[u32], fragments: &[&[u8]]) -> Self {
        self.0.extend([0xE0, 0x7F, 0x10, 0x00]);
        self.0.extend(b"OB\0\0\xFF\xFF\xFF\xFF");
        let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        for fragment in std::iter::once(&table.as_slice()).chain(fragments) {
            self.0.extend([0xFE, 0xFF, 0x00, 0xE0]);
            self.0.extend((fragment.len() as u32).to_le_bytes());
            self.0.extend(*fragment);
        }
        self.0.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        self
    }

    fn reader(&self) -> Result<PixelReader, DicomError> {
        PixelReader::new(DicomFile::from_bytes(&self.0, &Source::file("made.dcm"))?)
    }
}

const NATIVE: &str = "1.2.840.10008.1.2.1";
const RLE: &str = "1.2.840.10008.1.2.5";

/// One RLE frame of 2 x 2 pixels of 8 bits, padded to an even length.
fn rle(values: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 1;
    bytes[4] = 64;
    bytes.push(3);
    bytes.extend(values);
    bytes.push(128);
    bytes
}

#[test]
fn rescale_windows_padding_and_inversion() {
    let frame = Builder::new(NATIVE)
        .text(tags::MODALITY, "CS", "CT")
        .image(1, 2, 12, true, "MONOCHROME1")
        .raw(tags::PIXEL_PADDING_VALUE, "SS", &(-2000i16).to_le_bytes())
        .us(tags::PIXEL_PADDING_RANGE_LIMIT, &[(-1900i16) as u16])
        .text(tags::WINDOW_CENTER, "DS", "40\\x\\300\\5")
        .text(tags::WINDOW_WIDTH, "DS", "400\\80\\0\\0.5")
        .text(tags::RESCALE_INTERCEPT, "DS", "-1024")
        .text(tags::RESCALE_SLOPE, "DS", "2")
        .text(tags::WINDOW_CENTER_WIDTH_EXPLANATION, "LO", "SOFT\\B\\C\\TINY")
        .raw(tags::PIXEL_DATA, "OW", &[0xFF, 0x0F, 0x02, 0x00])
        .reader()
        .expect("a good file")
        .frame(0)
        .expect("decodes");
    assert_eq!(frame.value_at(0, 0), Some(-1026.0));
    assert_eq!(frame.value_at(0, 1), Some(-1020.0));
    let display = frame.display;
    assert!(display.inverted);
    assert_eq!(display.units, "HU");
    assert_eq!(display.padding, Some((-2000.0, -1900.0)));
    let names: Vec<&str> = display.windows.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["SOFT", "TINY"]);
    assert_eq!(display.windows[1].function, VoiFunction::LinearExact);
}

#[test]
fn functional_groups_win_over_the_top_of_the_data_set() {
    let measures =
        Builder::default().text(tags::SLICE_THICKNESS, "DS", "3").text(tags::PIXEL_SPACING, "DS", "0.5\\0.25");
    let orientation = Builder::default().text(tags::IMAGE_ORIENTATION_PATIENT, "DS", "2\\0\\0\\0\\2\\0");
    let shared = Builder::default()
        .sequence(tags::PLANE_ORIENTATION_SEQUENCE, &[orientation])
        .sequence(tags::PIXEL_MEASURES_SEQUENCE, &[measures]);
    let own = |z: &str, slope: &str| {
        let position = Builder::default().text(tags::IMAGE_POSITION_PATIENT, "DS", z);
        let voi = Builder::default().text(tags::WINDOW_CENTER, "DS", "7").text(tags::WINDOW_WIDTH, "DS", "9").text(
            tags::VOILUT_FUNCTION,
            "CS",
            "SIGMOID",
        );
        let rescale =
            Builder::default().text(tags::RESCALE_INTERCEPT, "DS", "1").text(tags::RESCALE_SLOPE, "DS", slope);
        Builder::default()
            .sequence(tags::PLANE_POSITION_SEQUENCE, &[position])
            .sequence(tags::FRAME_VOILUT_SEQUENCE, &[voi])
            .sequence(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &[rescale])
    };
    let reader = Builder::new(NATIVE)
        .text(tags::SLICE_THICKNESS, "DS", "99")
        .text(tags::NUMBER_OF_FRAMES, "IS", "2")
        .image(1, 1, 8, false, "MONOCHROME2")
        .sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, &[shared])
        .sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, &[own("0\\0\\5", "2"), own("0\\0\\8", "3")])
        .raw(tags::PIXEL_DATA, "OB", &[10, 20])
        .reader()
        .expect("a good file");
    let second = reader.frame(1).expect("decodes");
    assert_eq!(second.value_at(0, 0), Some(61.0));
    assert_eq!(second.display.slice_thickness_mm, Some(3.0));
    let geometry = second.display.geometry.expect("position and orientation");
    assert_eq!(geometry.position, [0.0, 0.0, 8.0]);
    assert_eq!(geometry.row_direction, [1.0, 0.0, 0.0]);
    let spacing = second.display.spacing.expect("measures");
    assert_eq!((spacing.row_mm, spacing.column_mm, spacing.kind), (0.5, 0.25, SpacingKind::Patient));
    assert_eq!(second.display.windows[0].function, VoiFunction::Sigmoid);
    assert_eq!(reader.frame(0).expect("decodes").value_at(0, 0), Some(21.0));
    assert!(reader.frame(2).is_err());
}

#[test]
fn lookup_tables_of_both_kinds() {
    let table = |first: u16, entries: &[u16]| {
        Builder::default().us(tags::LUT_DESCRIPTOR, &[entries.len() as u16, first, 12]).us(tags::LUT_DATA, entries)
    };
    let frame = Builder::new(NATIVE)
        .image(1, 2, 8, false, "MONOCHROME2")
        .sequence(tags::MODALITY_LUT_SEQUENCE, &[table(5, &[100, 200, 400])])
        .sequence(tags::VOILUT_SEQUENCE, &[table(100, &[0, 4095])])
        .raw(tags::PIXEL_DATA, "OB", &[6, 250])
        .reader()
        .expect("a good file")
        .frame(0)
        .expect("decodes");
    assert!(matches!(frame.display.modality, ModalityTransform::Table(_)));
    assert_eq!((frame.value_at(0, 0), frame.value_at(0, 1)), (Some(200.0), Some(400.0)));
    assert_eq!(frame.display.voi_lut.map(|table| (table.lookup(50.0), table.lookup(999.0))), Some((0.0, 4095.0)));
}

#[test]
fn projections_are_measured_on_the_detector_unless_calibrated() {
    let base =
        |modality: &str| Builder::new(NATIVE).text(tags::MODALITY, "CS", modality).image(1, 1, 8, false, "MONOCHROME2");
    let kind = |builder: Builder| {
        let reader = builder.raw(tags::PIXEL_DATA, "OB", &[0, 0]).reader().expect("a good file");
        reader.display(0).spacing.map(|spacing| spacing.kind)
    };
    let spacing = |builder: Builder, tag, value| builder.text(tag, "DS", value);
    assert_eq!(kind(spacing(base("CT"), tags::PIXEL_SPACING, "1\\1")), Some(SpacingKind::Patient));
    assert_eq!(kind(spacing(base("DX"), tags::PIXEL_SPACING, "1\\1")), Some(SpacingKind::Detector));
    assert_eq!(kind(spacing(base("DX"), tags::IMAGER_PIXEL_SPACING, "1\\1")), Some(SpacingKind::Detector));
    let both = spacing(spacing(base("DX"), tags::IMAGER_PIXEL_SPACING, "1\\1"), tags::PIXEL_SPACING, "0.8\\0.8");
    assert_eq!(kind(both), Some(SpacingKind::Patient));
    for useless in ["0\\0", "1", "-1\\1", "x\\y", "nan\\1"] {
        assert_eq!(kind(spacing(base("CT"), tags::PIXEL_SPACING, useless)), None, "{useless}");
    }
}

#[test]
fn ultrasound_regions_of_one_scale_give_the_spacing() {
    let region = |format: u32, units: u16, delta: f64| {
        let long = |builder: Builder, tag, value: u32| builder.raw(tag, "UL", &value.to_le_bytes());
        let double = |builder: Builder, tag, value: f64| builder.raw(tag, "FD", &value.to_le_bytes());
        let builder = Builder::default().us(tags::REGION_SPATIAL_FORMAT, &[format as u16]);
        let builder = long(builder, tags::REGION_LOCATION_MIN_X0, 0);
        let builder =
            builder.us(tags::PHYSICAL_UNITS_X_DIRECTION, &[units]).us(tags::PHYSICAL_UNITS_Y_DIRECTION, &[units]);
        double(double(builder, tags::PHYSICAL_DELTA_X, delta), tags::PHYSICAL_DELTA_Y, -2.0 * delta)
    };
    let spacing = |regions: &[Builder]| {
        let reader = Builder::new(NATIVE)
            .text(tags::MODALITY, "CS", "US")
            .sequence(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, regions)
            .image(1, 1, 8, false, "MONOCHROME2")
            .raw(tags::PIXEL_DATA, "OB", &[0, 0])
            .reader()
            .expect("a good file");
        reader.display(0).spacing.map(|s| (s.row_mm, s.column_mm, s.kind))
    };
    let one = spacing(&[region(1, 3, 0.02)]).expect("a spacing");
    assert!((one.0 - 0.4).abs() < 1e-9 && (one.1 - 0.2).abs() < 1e-9 && one.2 == SpacingKind::Patient, "{one:?}");
    // A spectrum beside the image has units of its own; two scales on one image are none.
    assert!(spacing(&[region(1, 3, 0.02), region(3, 4, 0.5)]).is_some());
    assert_eq!(spacing(&[region(1, 3, 0.02), region(1, 3, 0.03)]), None);
    assert_eq!(spacing(&[region(1, 4, 0.02)]), None);
}

#[test]
fn uptake_by_body_weight_or_why_not() {
    let suv = |weight: &str, correction: &str, series: &str, acquired: &str, units: &str| {
        let drug = Builder::default()
            .text(tags::RADIOPHARMACEUTICAL_START_TIME, "TM", "100000")
            .text(tags::RADIONUCLIDE_TOTAL_DOSE, "DS", "370000000")
            .text(tags::RADIONUCLIDE_HALF_LIFE, "DS", "6600");
        let reader = Builder::new(NATIVE)
            .text(tags::SERIES_TIME, "TM", series)
            .text(tags::ACQUISITION_TIME, "TM", acquired)
            .text(tags::MODALITY, "CS", "PT")
            .text(tags::PATIENT_WEIGHT, "DS", weight)
            .sequence(tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE, &[drug])
            .image(1, 1, 8, false, "MONOCHROME2")
            .text(tags::UNITS, "CS", units)
            .text(tags::DECAY_CORRECTION, "CS", correction)
            .raw(tags::PIXEL_DATA, "OB", &[0, 0])
            .reader()
            .expect("a good file");
        reader.display(0).suv.expect("a PET image")
    };
    // One half-life after the injection half of 370 MBq is left; 74 kg: 74,000 g / 185 MBq = 0.0004 g/Bq.
    let Suv::Factor(factor) = suv("74", "START", "115000", "115500", "BQML") else { panic!("no factor") };
    assert!((factor - 4e-4).abs() < 1e-12, "{factor}");
    let Suv::Factor(at_injection) = suv("74", "ADMIN", "115000", "115500", "BQML") else { panic!("no factor") };
    assert!((at_injection - 2e-4).abs() < 1e-12, "{at_injection}");
    for (suv, reason) in [
        (suv("", "START", "115000", "115500", "BQML"), "weight"),
        (suv("74", "NONE", "115000", "115500", "BQML"), "decay"),
        (suv("74", "START", "130000", "115500", "BQML"), "after its images"),
        (suv("74", "START", "115000", "115500", "CNTS"), "CNTS"),
    ] {
        assert!(matches!(&suv, Suv::Unknown(text) if text.contains(reason)), "{suv:?}");
    }
    assert_eq!(suv("", "", "", "", "GML"), Suv::Factor(1.0));
}

#[test]
fn palettes_become_colour_and_lying_descriptors_do_no_harm() {
    let palette = |count: u16, first: u16| {
        let mut builder = Builder::new(NATIVE).image(1, 2, 8, false, "PALETTE COLOR");
        for tag in [
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        ] {
            builder = builder.us(tag, &[count, first, 16]);
        }
        for (tag, entry) in [
            (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, 0x1000),
            (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, 0x2000),
            (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, 0x3000),
        ] {
            builder = builder.raw(tag, "OW", &[entry, 2 * entry].map(u16::to_le_bytes).concat());
        }
        builder.raw(tags::PIXEL_DATA, "OB", &[3, 4]).reader().expect("a good file").frame(0)
    };
    let rgb = |frame: Result<Frame, DicomError>| match frame.expect("decodes").pixels {
        Pixels::Rgb(array) => array.iter().copied().collect::<Vec<u8>>(),
        Pixels::Gray(_) => Vec::new(),
    };
    assert_eq!(rgb(palette(2, 3)), [0x10, 0x20, 0x30, 0x20, 0x40, 0x60]);
    assert_eq!(rgb(palette(2, 60_000)), [0x10, 0x20, 0x30, 0x10, 0x20, 0x30]);
    assert_eq!(rgb(palette(0, 0)), [0x20, 0x40, 0x60, 0x20, 0x40, 0x60]);
    let error = Builder::new(NATIVE)
        .image(1, 2, 8, false, "PALETTE COLOR")
        .raw(tags::PIXEL_DATA, "OB", &[3, 4])
        .reader()
        .expect("a good file")
        .frame(0)
        .expect_err("no palette")
        .to_string();
    assert!(error.contains("made.dcm") && error.contains("(0028,1101)"), "{error}");
}

#[test]
fn frames_are_found_whatever_the_offset_table_says() {
    let frames = [rle([1, 2, 3, 4]), rle([5, 6, 7, 8])];
    let fragments: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let length = frames[0].len() as u32;
    for table in [&[][..], &[0, length + 8], &[0, 4], &[9, 0], &[0, u32::MAX], &[7; 900], &[0]] {
        let reader = Builder::new(RLE)
            .text(tags::NUMBER_OF_FRAMES, "IS", "2")
            .image(2, 2, 8, false, "MONOCHROME2")
            .encapsulated(table, &fragments)
            .reader()
            .expect("a good file");
        for (index, first) in [(0, 1), (1, 5)] {
            let stored = reader.stored(index).expect("decodes");
            assert_eq!(stored.data, StoredData::U8((first..first + 4).collect()), "{table:?}");
        }
    }
    // A frame in two fragments.
    let (head, tail) = frames[0].split_at(40);
    let stored = Builder::new(RLE)
        .image(2, 2, 8, false, "MONOCHROME2")
        .encapsulated(&[], &[head, tail])
        .reader()
        .expect("a good file")
        .stored(0)
        .expect("decodes");
    assert_eq!(stored.data, StoredData::U8(vec![1, 2, 3, 4]));
}

#[test]
fn sizes_that_overflow_are_refused_by_name() {
    let huge = |frames: &str| {
        Builder::new(NATIVE)
            .text(tags::NUMBER_OF_FRAMES, "IS", frames)
            .image(65_535, 65_535, 16, false, "MONOCHROME2")
            .raw(tags::PIXEL_DATA, "OW", &[0; 8])
            .reader()
            .expect("the header can be read")
    };
    for frames in ["1", "2147483647", "99999999999", "-5", "x"] {
        let reader = huge(frames);
        let error = reader.stored(reader.frames() - 1).expect_err("too large").to_string();
        assert!(error.contains("(0028,0010) Rows"), "{error}");
    }
    let error = Builder::new(NATIVE)
        .text(tags::NUMBER_OF_FRAMES, "IS", "2000000000")
        .image(2, 2, 8, false, "MONOCHROME2")
        .raw(tags::PIXEL_DATA, "OB", &[0; 8])
        .reader()
        .expect("the header can be read")
        .stored(1_999_999_999)
        .expect_err("two frames only")
        .to_string();
    assert!(error.contains("2 whole frames"), "{error}");
}

#[test]
fn a_cut_image_is_shown_as_far_as_it_goes_and_says_so() {
    let made = |photometric: &str, signed: bool| {
        Builder::new(NATIVE).image(4, 2, 16, signed, photometric).raw(tags::PIXEL_DATA, "OW", &[9; 10])
    };
    let frame = made("MONOCHROME2", true).reader().expect("a header").frame(0).expect("five of eight pixels");
    assert_eq!((frame.value_at(1, 1), frame.value_at(2, 0)), (Some(2313.0), Some(2313.0)));
    // The rest is padding: black in either polarity, and not counted for the automatic window.
    assert_eq!(frame.value_at(2, 1), Some(-32_768.0));
    assert_eq!(frame.display.padding, Some((-32_768.0, -32_768.0)));
    let [warning] = &frame.display.warnings[..] else { panic!("{:?}", frame.display.warnings) };
    assert!(warning.starts_with("INCOMPLETE IMAGE: rows 3 to 4 of 4 are missing"), "{warning}");
    assert!(warning.contains("10 of 16 bytes"), "{warning}");
    let padded = made("MONOCHROME1", false).us(tags::PIXEL_PADDING_VALUE, &[7]);
    assert_eq!(padded.reader().expect("a header").frame(0).expect("five pixels").value_at(3, 1), Some(7.0));
    // Nothing at all is no image.
    let empty = Builder::new(NATIVE).image(4, 2, 16, false, "MONOCHROME2").raw(tags::PIXEL_DATA, "OW", &[]);
    let error = empty.reader().expect("a header").frame(0).expect_err("nothing to show").to_string();
    assert!(error.contains("0 bytes") && error.contains("(7FE0,0010)"), "{error}");
}

#[test]
fn frames_that_are_there_are_shown_where_others_are_missing() {
    let frames =
        |count: &str| Builder::new(RLE).text(tags::NUMBER_OF_FRAMES, "IS", count).image(2, 2, 8, false, "MONOCHROME2");
    let (one, two) = (rle([1, 2, 3, 4]), rle([5, 6, 7, 8]));
    let offset = one.len() as u32 + 8;
    for table in [&[][..], &[0, offset, 2 * offset, 3 * offset]] {
        let reader = frames("4").encapsulated(table, &[&one, &two]).reader().expect("two of four frames");
        let doubt = reader.frame_doubt().expect("named").to_owned();
        assert!(doubt.contains("says 4") && doubt.contains("hold 2"), "{doubt}");
        assert_eq!(reader.stored(1).expect("is there").data, StoredData::U8(vec![5, 6, 7, 8]));
        assert!(reader.frame(0).expect("is there").display.warnings[0].contains("says 4"));
        let error = reader.stored(2).expect_err("is not there").to_string();
        assert!(error.contains("frame 3") && error.contains("hold 2 of 4 frames"), "{error}");
    }
    // The last frame is cut: its first pixels are there.
    let reader = frames("2").encapsulated(&[], &[&one, &two[..67]]).reader().expect("a part");
    assert_eq!(reader.frame_doubt(), None);
    let part = reader.stored(1).expect("two pixels");
    assert_eq!((part.data, part.incomplete.map(|part| part.from_pixel)), (StoredData::U8(vec![5, 6, 0, 0]), Some(2)));
    // More than stated.
    let more =
        frames("1").encapsulated(&[], &[&[0xFF, 0xD8, 0xFF, 0], &[0xFF, 0xD8, 0xFF, 0]]).reader().expect("a header");
    assert!(more.frame_doubt().is_some_and(|doubt| doubt.contains("hold 2")));
}

#[test]
fn a_wrong_transfer_syntax_label_is_seen_through() {
    // JPEG-LS of the standard's example, labelled as JPEG baseline.
    let example = [
        0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA, 0x00,
        0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00,
        0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91,
        0x60, 0xFF, 0xD9, 0x00,
    ];
    let stored = Builder::new("1.2.840.10008.1.2.4.50")
        .image(4, 4, 8, false, "MONOCHROME2")
        .encapsulated(&[], &[&example])
        .reader()
        .expect("a good file")
        .stored(0)
        .expect("decodes");
    assert_eq!(stored.min_max(), Some((0.0, 205.0)));
    let error = Builder::new("1.2.840.10008.1.2.4.102")
        .image(4, 4, 8, false, "MONOCHROME2")
        .encapsulated(&[], &[&[0, 0, 1, 0xB3]])
        .reader()
        .expect("the header can be read")
        .stored(0)
        .expect_err("a video")
        .to_string();
    assert!(error.contains("video"), "{error}");
}

#[test]
fn floating_point_pixels() {
    let stored = Builder::new(NATIVE)
        .us(tags::ROWS, &[1])
        .us(tags::COLUMNS, &[2])
        .raw(tags::FLOAT_PIXEL_DATA, "OF", &[1.5f32, f32::NAN].map(f32::to_le_bytes).concat())
        .reader()
        .expect("a good file")
        .stored(0)
        .expect("decodes");
    assert_eq!(stored.dtype(), "float32");
    assert_eq!(stored.min_max(), Some((1.5, 1.5)));
}
