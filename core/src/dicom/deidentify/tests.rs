use super::rules::shifted;

#[test]
fn dates_move_over_months_and_leap_years() {
    assert_eq!(shifted("20240301", 1).as_deref(), Some("20240229"));
    assert_eq!(shifted("20230301", 1).as_deref(), Some("20230228"));
    assert_eq!(shifted("20240101", 366).as_deref(), Some("20221231"));
    assert_eq!(shifted("19991231235959.5+0100", 365).as_deref(), Some("19981231235959.5+0100"));
    assert_eq!(shifted("1999.12.31", 30).as_deref(), Some("19991201"));
    for wrong in ["", "1999", "19991331", "yesterday"] {
        assert_eq!(shifted(wrong, 5), None, "{wrong}");
    }
}

mod copies {
    use dicom_core::Tag;

    use crate::dicom::{DataSetBuilder, Deidentifier, DicomFile, Retain, tags, uids};
    use crate::study::Source;

    const SECRETS: [&str; 5] = ["Doe", "Jane", "4711", "St. Elsewhere", "20240315"];

    /// An image that names its patient in every way that comes to mind.
    fn original(folder: &std::path::Path, instance: &str) -> DicomFile {
        let mut inner = DataSetBuilder::item();
        inner
            .text(tags::REFERENCED_SOP_INSTANCE_UID, "1.2.3.4.1")
            .text(tags::REFERENCED_SOP_CLASS_UID, uids::CT_IMAGE_STORAGE)
            .text(tags::PERSON_NAME, "Doe^Jane")
            .text(tags::TEXT_VALUE, "seen at St. Elsewhere");
        let mut d = DataSetBuilder::new(uids::CT_IMAGE_STORAGE, instance);
        d.text(tags::PATIENT_NAME, "Doe^Jane")
            .text(tags::PATIENT_ID, "4711")
            .text(tags::PATIENT_SEX, "F")
            .text(tags::PATIENT_AGE, "044Y")
            .text(tags::OTHER_PATIENT_NAMES, "Doe^Janet")
            .text(tags::INSTITUTION_NAME, "St. Elsewhere")
            .text(tags::STUDY_DESCRIPTION, "CT of Jane Doe")
            .text(tags::IMAGE_COMMENTS, "Jane moved")
            .text(tags::STUDY_DATE, "20240315")
            .text(tags::ACQUISITION_DATE_TIME, "20240315101112")
            .text(tags::STUDY_TIME, "101112")
            .text(tags::MODALITY, "CT")
            .text(tags::STUDY_INSTANCE_UID, "1.2.3.4")
            .text(tags::SERIES_INSTANCE_UID, "1.2.3.4.1")
            .text(tags::FRAME_OF_REFERENCE_UID, "1.2.3.4.9")
            .text(tags::BODY_PART_EXAMINED, "CHEST")
            .decimals(tags::PIXEL_SPACING, &[0.5, 0.5])
            .sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![inner])
            .text(Tag(0x0009, 0x0010), "DOE PRIVATE")
            .unsigned(tags::ROWS, &[1])
            .unsigned(tags::COLUMNS, &[3])
            .unsigned(tags::SAMPLES_PER_PIXEL, &[1])
            .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
            .unsigned(tags::BITS_ALLOCATED, &[8])
            .unsigned(tags::BITS_STORED, &[8])
            .unsigned(tags::HIGH_BIT, &[7])
            .unsigned(tags::PIXEL_REPRESENTATION, &[0])
            .pixels8(vec![7, 8, 9]);
        let path = folder.join(format!("{instance}.dcm"));
        d.save(&path).expect("written");
        DicomFile::read(&Source::file(&path)).expect("reads")
    }

    fn read(bytes: &[u8]) -> DicomFile {
        DicomFile::from_bytes(bytes, &Source::file("copy.dcm")).expect("the copy reads")
    }

    #[test]
    fn nothing_that_names_the_patient_is_left_and_references_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let by = Deidentifier::new("a long secret", Retain::default());
        let (one, two) = (original(folder.path(), "1.2.3.4.5"), original(folder.path(), "1.2.3.4.6"));
        let (a, b) = (by.copy(&one).expect("copied"), by.copy(&two).expect("copied"));
        let text = String::from_utf8_lossy(&a.bytes);
        for secret in SECRETS.iter().chain(&["1.2.3.4"]) {
            assert!(!text.contains(secret), "{secret} is left");
        }
        assert_eq!((&a.patient, &a.study_uid, &a.series_uid), (&b.patient, &b.study_uid, &b.series_uid));
        assert_ne!(a.sop_instance_uid, b.sop_instance_uid);
        let copy = read(&a.bytes);
        assert!(copy.problems.is_empty(), "{:?}", copy.problems);
        let set = copy.data_set();
        assert_eq!(set.line(tags::PATIENT_ID), a.patient);
        assert_eq!(set.line(tags::PATIENT_IDENTITY_REMOVED), "YES");
        assert_eq!(set.line(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED), "REMOVED");
        assert!(set.has(tags::STUDY_DATE) && set.string(tags::STUDY_DATE).is_none(), "type 2");
        assert!(!set.has(tags::PATIENT_AGE) && set.string(tags::PATIENT_SEX).is_none());
        assert_eq!(set.line(tags::BODY_PART_EXAMINED), "CHEST");
        assert_eq!(set.floats(tags::PIXEL_SPACING), [0.5, 0.5]);
        assert_eq!(set.bytes(tags::PIXEL_DATA), Some(&[7, 8, 9, 0][..]), "pixels are untouched");
        // The reference names the series here; it is replaced as the series itself is.
        let reference = set.item(tags::REFERENCED_IMAGE_SEQUENCE).expect("kept");
        assert_eq!(reference.line(tags::REFERENCED_SOP_INSTANCE_UID), a.series_uid);
        assert_eq!(reference.line(tags::REFERENCED_SOP_CLASS_UID), uids::CT_IMAGE_STORAGE);
        assert_eq!(reference.elements().count(), 2);
        let other = Deidentifier::with_random_key(Retain::default()).copy(&one).expect("copied");
        assert_ne!((other.patient, other.study_uid), (a.patient, a.study_uid));
    }

    #[test]
    fn options_keep_characteristics_and_distances_of_dates() {
        let folder = tempfile::tempdir().expect("a folder");
        let retain = Retain { patient_characteristics: true, shifted_dates: true };
        let copy =
            Deidentifier::new("a long secret", retain).copy(&original(folder.path(), "1.2.3.4.5")).expect("copied");
        let file = read(&copy.bytes);
        let set = file.data_set();
        assert_eq!((set.line(tags::PATIENT_SEX).as_str(), set.line(tags::PATIENT_AGE).as_str()), ("F", "044Y"));
        let (date, moment) = (set.line(tags::STUDY_DATE), set.line(tags::ACQUISITION_DATE_TIME));
        assert_ne!(date, "20240315");
        assert_eq!(moment, format!("{date}101112"), "both moved by the same days, the time stays");
        assert_eq!(set.line(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED), "MODIFIED");
    }
}
