//! Names of the storage SOP classes (PS3.4 B.5, PS3.6 A).

/// Media Storage Directory Storage: a DICOMDIR.
pub(super) const MEDIA_DIRECTORY: &str = "1.2.840.10008.1.3.10";

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// By what follows `1.2.840.10008.5.1.4.1.1.`
const NAMES: &[(&str, &str)] = &[
    ("1", "Computed Radiography Image"),
    ("1.1", "Digital X-Ray Image for Presentation"),
    ("1.1.1", "Digital X-Ray Image for Processing"),
    ("1.2", "Digital Mammography Image for Presentation"),
    ("1.2.1", "Digital Mammography Image for Processing"),
    ("1.3", "Digital Intra-Oral X-Ray Image for Presentation"),
    ("1.3.1", "Digital Intra-Oral X-Ray Image for Processing"),
    ("2", "CT Image"),
    ("2.1", "Enhanced CT Image"),
    ("2.2", "Legacy Converted Enhanced CT Image"),
    ("3.1", "Ultrasound Multi-frame Image"),
    ("4", "MR Image"),
    ("4.1", "Enhanced MR Image"),
    ("4.2", "MR Spectroscopy"),
    ("4.3", "Enhanced MR Color Image"),
    ("4.4", "Legacy Converted Enhanced MR Image"),
    ("6.1", "Ultrasound Image"),
    ("6.2", "Enhanced Ultrasound Volume"),
    ("7", "Secondary Capture Image"),
    ("7.1", "Multi-frame Single Bit Secondary Capture Image"),
    ("7.2", "Multi-frame Grayscale Byte Secondary Capture Image"),
    ("7.3", "Multi-frame Grayscale Word Secondary Capture Image"),
    ("7.4", "Multi-frame True Color Secondary Capture Image"),
    ("9.1.1", "12-lead ECG Waveform"),
    ("9.1.2", "General ECG Waveform"),
    ("9.1.3", "Ambulatory ECG Waveform"),
    ("9.2.1", "Hemodynamic Waveform"),
    ("9.4.1", "Basic Voice Audio Waveform"),
    ("11.1", "Grayscale Softcopy Presentation State"),
    ("11.2", "Color Softcopy Presentation State"),
    ("11.3", "Pseudo-Color Softcopy Presentation State"),
    ("11.4", "Blending Softcopy Presentation State"),
    ("12.1", "X-Ray Angiographic Image"),
    ("12.1.1", "Enhanced XA Image"),
    ("12.2", "X-Ray Radiofluoroscopic Image"),
    ("12.2.1", "Enhanced XRF Image"),
    ("13.1.1", "X-Ray 3D Angiographic Image"),
    ("13.1.2", "X-Ray 3D Craniofacial Image"),
    ("13.1.3", "Breast Tomosynthesis Image"),
    ("20", "Nuclear Medicine Image"),
    ("30", "Parametric Map"),
    ("66", "Raw Data"),
    ("66.1", "Spatial Registration"),
    ("66.2", "Spatial Fiducials"),
    ("66.3", "Deformable Spatial Registration"),
    ("66.4", "Segmentation"),
    ("66.5", "Surface Segmentation"),
    ("66.7", "Label Map Segmentation"),
    ("67", "Real World Value Mapping"),
    ("77.1.1", "VL Endoscopic Image"),
    ("77.1.2", "VL Microscopic Image"),
    ("77.1.4", "VL Photographic Image"),
    ("77.1.5.1", "Ophthalmic Photography 8 Bit Image"),
    ("77.1.5.2", "Ophthalmic Photography 16 Bit Image"),
    ("77.1.5.4", "Ophthalmic Tomography Image"),
    ("77.1.6", "VL Whole Slide Microscopy Image"),
    ("88.11", "Basic Text SR"),
    ("88.22", "Enhanced SR"),
    ("88.33", "Comprehensive SR"),
    ("88.34", "Comprehensive 3D SR"),
    ("88.50", "Mammography CAD SR"),
    ("88.59", "Key Object Selection"),
    ("88.65", "Chest CAD SR"),
    ("88.67", "X-Ray Radiation Dose SR"),
    ("91.1", "Microscopy Bulk Simple Annotations"),
    ("104.1", "Encapsulated PDF"),
    ("104.2", "Encapsulated CDA"),
    ("104.3", "Encapsulated STL"),
    ("128", "Positron Emission Tomography Image"),
    ("130", "Enhanced PET Image"),
    ("481.1", "RT Image"),
    ("481.2", "RT Dose"),
    ("481.3", "RT Structure Set"),
    ("481.4", "RT Beams Treatment Record"),
    ("481.5", "RT Plan"),
    ("481.8", "RT Ion Plan"),
];

/// Name of a SOP class for people; the UID itself where it is not a known one.
pub fn sop_class_name(uid: &str) -> &str {
    match uid {
        "" => "unknown object",
        MEDIA_DIRECTORY => "DICOM directory",
        "1.2.840.10008.5.1.4.38.1" => "Hanging Protocol",
        "1.2.840.10008.5.1.4.39.1" => "Color Palette",
        _ => {
            let known = uid.strip_prefix(STORAGE).and_then(|rest| NAMES.iter().find(|(suffix, _)| *suffix == rest));
            known.map_or(uid, |(_, name)| name)
        }
    }
}

/// Whether objects of this class cannot be without an image.
pub(super) fn needs_image(uid: &str) -> bool {
    let name = sop_class_name(uid);
    name.contains("Image") || matches!(name, "Parametric Map" | "Segmentation" | "Label Map Segmentation")
}
