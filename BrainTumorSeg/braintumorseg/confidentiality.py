"""What may stay in a research copy of an image: DICOM PS3.15, Basic Application Level Confidentiality Profile, turned round.

Table E.1-1 lists what must go, and grows with every edition; a list of what may stay also stops what no edition has thought of.
So an attribute that is not named here is removed, in every sequence too, and so is every private one. Beyond what is named,
by value representation: UI is replaced consistently; DA and DT are shifted; CS must look like a defined term; numbers must be
numbers; text must not hold a word of the patient's identity. A test holds this against the published table.
"""

from __future__ import annotations

import re
from functools import cache

from .sequence_words import CONTRAST_MARKS, read_words

__all__ = ["CODING_SCHEMES", "DATES", "KEPT", "SEQUENCES", "clean_description", "option_codes",
           "published_meaning", "why_not_kept"]


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Attributes by keyword: geometry, pixels, contrast mechanism, order in time.
KEPT = _listed("""
SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID SynchronizationFrameOfReferenceUID ConcatenationUID
SOPInstanceUIDOfConcatenationSource DimensionOrganizationUID ReferencedSOPClassUID ReferencedSOPInstanceUID ReferencedFrameOfReferenceUID
TrackingUID ImageType Modality Manufacturer ManufacturerModelName SoftwareVersions BodyPartExamined PatientPosition ImageLaterality
StudyTime SeriesTime AcquisitionTime ContentTime SeriesNumber AcquisitionNumber InstanceNumber TemporalPositionIdentifier
NumberOfTemporalPositions TemporalResolution TemporalPositionIndex StackID InStackPositionNumber DimensionIndexValues DimensionIndexPointer
FunctionalGroupPointer DimensionOrganizationType NumberOfFrames FrameAcquisitionNumber FrameAcquisitionDuration FrameType VolumetricProperties
VolumeBasedCalculationTechnique ComplexImageComponent AcquisitionContrast PixelPresentation ContentQualification InConcatenationNumber
InConcatenationTotalNumber ConcatenationFrameOffsetNumber
ImagePositionPatient ImageOrientationPatient SliceLocation SliceThickness SpacingBetweenSlices PixelSpacing GantryDetectorTilt TableHeight
ScanningSequence SequenceVariant ScanOptions MRAcquisitionType SequenceName PulseSequenceName AngioFlag RepetitionTime EchoTime EffectiveEchoTime
InversionTime InversionTimes TriggerTime NumberOfAverages ImagingFrequency ImagedNucleus ResonantNucleus TransmitterFrequency EchoNumbers
MagneticFieldStrength NumberOfPhaseEncodingSteps EchoTrainLength RFEchoTrainLength GradientEchoTrainLength PercentSampling PercentPhaseFieldOfView
PixelBandwidth ReconstructionDiameter ReceiveCoilType TransmitCoilType AcquisitionMatrix InPlanePhaseEncodingDirection FlipAngle
VariableFlipAngleFlag SAR dBdt EchoPulseSequence MultipleSpinEcho MultiPlanarExcitation PhaseContrast TimeOfFlightContrast Spoiling
SteadyStatePulseSequence EchoPlanarPulseSequence SaturationRecovery SpectrallySelectedSuppression OversamplingPhase GeometryOfKSpaceTraversal
SegmentedKSpaceTraversal RectilinearPhaseEncodeReordering InversionRecovery FlowCompensation SpectrallySelectedExcitation SpatialPresaturation
PartialFourier PartialFourierDirection ParallelAcquisition ParallelAcquisitionTechnique ParallelReductionFactorInPlane
ParallelReductionFactorOutOfPlane MagnetizationTransfer T2Preparation BloodSignalNulling Tagging AcquisitionDuration
MRAcquisitionPhaseEncodingStepsInPlane MRAcquisitionPhaseEncodingStepsOutOfPlane MRAcquisitionFrequencyEncodingSteps KSpaceFiltering
ApplicableSafetyStandardAgency DiffusionBValue DiffusionDirectionality DiffusionGradientOrientation DiffusionAnisotropyType
DiffusionBValueXX DiffusionBValueXY DiffusionBValueXZ DiffusionBValueYY DiffusionBValueYZ DiffusionBValueZZ
KVP DataCollectionDiameter ExposureTime XRayTubeCurrent Exposure FilterType FocalSpots ConvolutionKernel RevolutionTime SingleCollimationWidth
TotalCollimationWidth SpiralPitchFactor TableFeedPerRotation
ContrastBolusVolume ContrastBolusTotalDose ContrastBolusIngredientConcentration ContrastBolusAgentNumber ContrastBolusAgentAdministered
ContrastBolusAgentDetected ContrastBolusAgentPhase
SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PlanarConfiguration
SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue PixelPaddingRangeLimit PixelAspectRatio WindowCenter WindowWidth VOILUTFunction
RescaleIntercept RescaleSlope RescaleType RealWorldValueIntercept RealWorldValueSlope RealWorldValueFirstValueMapped
RealWorldValueLastValueMapped PresentationLUTShape LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod BurnedInAnnotation
QualityControlImage PixelData
CodeValue CodingSchemeDesignator LongCodeValue ReferencedFrameNumber SpatialLocationsPreserved
SegmentationType SegmentationFractionalType MaximumFractionalValue SegmentsOverlap SegmentNumber SegmentAlgorithmType RecommendedDisplayGrayscaleValue
RecommendedDisplayCIELabValue ReferencedSegmentNumber
""")

# Shifted by one number of days per patient (Retain Longitudinal Temporal Information with Modified Dates).
DATES = _listed("""
StudyDate SeriesDate AcquisitionDate ContentDate AcquisitionDateTime FrameAcquisitionDateTime FrameReferenceDateTime
""")

# Sequences that stay, their items cleaned in the same way.
SEQUENCES = _listed("""
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence PlaneOrientationSequence
FrameContentSequence FrameAnatomySequence FrameVOILUTSequence PixelValueTransformationSequence RealWorldValueMappingSequence
MeasurementUnitsCodeSequence MRImageFrameTypeSequence MRTimingAndRelatedParametersSequence MRFOVGeometrySequence MREchoSequence
MRModifierSequence MRImagingModifierSequence MRTransmitCoilSequence MRReceiveCoilSequence MRAveragesSequence MRDiffusionSequence
DiffusionGradientDirectionSequence DiffusionBMatrixSequence TemporalPositionSequence ContrastBolusUsageSequence CTImageFrameTypeSequence
UnassignedSharedConvertedAttributesSequence DimensionOrganizationSequence DimensionIndexSequence
AnatomicRegionSequence AnatomicRegionModifierSequence ContrastBolusAgentSequence ContrastBolusIngredientCodeSequence
ReferencedImageSequence SourceImageSequence DerivationImageSequence PurposeOfReferenceCodeSequence DerivationCodeSequence
ReferencedSeriesSequence ReferencedInstanceSequence
SegmentSequence SegmentIdentificationSequence SegmentedPropertyCategoryCodeSequence SegmentedPropertyTypeCodeSequence
""")

# Published vocabularies and what their codes look like; a local code ("99...") carries the words of the hospital that made it.
CODING_SCHEMES = {"DCM": r"[0-9]{4,6}", "SCT": r"[0-9]{6,18}", "SRT": r"[A-Z][A-Z0-9]?-[0-9A-F]{5}", "SNM3": r"[A-Z][A-Z0-9]?-[0-9A-F]{5}",
                  "UCUM": r"[0-9A-Za-z%/.*^-]{1,8}", "NCIt": r"C[0-9]{3,7}", "FMA": r"[0-9]{3,7}", "RADLEX": r"RID[0-9]{1,6}",
                  "LN": r"[0-9]{1,7}-[0-9]", "UMLS": r"C[0-9]{7}", "NEU": r"[0-9]{1,5}"}

# Kinds of images whose every attribute we know: MR, enhanced and legacy converted enhanced MR, CT, enhanced CT, segmentations.
_IMAGES = frozenset(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("4", "4.1", "4.4", "2", "2.1", "2.2"))
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_LEFT_OUT = {"1.2.840.10008.5.1.4.1.1.7": "a secondary capture, which may have a name drawn into its picture",
             "1.2.840.10008.5.1.4.1.1.88": "a structured report, which is free text in part",
             "1.2.840.10008.5.1.4.1.1.104": "an encapsulated document, which cannot be cleaned",
             "1.2.840.10008.5.1.4.1.1.6": "an ultrasound image, which has names drawn into its picture",
             "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object, whose names of structures are free text"}

# Words of a series' description that say how it was made, and nothing else.
_VOCABULARY = _listed("""
t1 t1w t1wi t2 t2w t2wi t2* flair fla dark fluid mprage mpr mp2rage space cube vista fse tse se gre fspgr spgr bravo ffe tfe tfl haste vibe flash ax
axial tra trans transversal sag sagittal cor coronal obl 3d 2d iso fs fatsat stir tirm ir pre post gd gad gado ce km contrast +c c+ dwi adc trace ep2d
epi dti fa perfusion pwi dsc dce asl swi mra tof mrv head brain neck localizer scout survey native raw recon mpgr blade propeller
""")


def why_not_kept(dataset) -> str:
    """Why an object has no place in a research copy; '' when it has one. `dataset` is its header."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    for prefix, why in _LEFT_OUT.items():
        if sop_class == prefix or sop_class.startswith(prefix + "."):
            return why
    if sop_class not in _IMAGES | _SEGMENTATIONS:
        return "of a kind that this does not know how to clean"
    if sop_class in _SEGMENTATIONS:
        return ""
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        return "an image that says it has annotation burned in"
    if dataset.get("ConversionType") or "SCREEN" in " ".join(dataset.get("ImageType") or []).upper():
        return "a screenshot, which may have a name drawn into its picture"
    if dataset.get("SamplesPerPixel", 1) != 1:
        return "a colour picture, which may have a name drawn into it"
    if any(dataset.get((group, 0x0102)) and dataset[group, 0x0102].value != 0 for group in range(0x6000, 0x6020, 2)):
        return "an image with an overlay hidden in its pixels"
    return ""


def published_meaning(value: str, scheme: str) -> str | None:
    """What a code means in its own vocabulary, for the words beside it in a file are free text; None when it is no published one.

    A code that has the form of the vocabulary's and is not known here is its own meaning.
    """
    if known := _meanings().get((value, scheme)):
        return known
    return value if scheme in CODING_SCHEMES and re.fullmatch(CODING_SCHEMES[scheme], value) else None


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """(code, scheme) -> meaning, of all that DICOM itself refers to (PS3.16, as pydicom has it)."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    found: dict[tuple[str, str], str] = {}
    for scheme in CODING_SCHEMES.keys() & concepts.keys():
        for value, (meaning, _) in ((value, said) for codes in concepts[scheme].values() for value, said in codes.items()):
            found.setdefault((value, scheme), meaning[:64])
    older = {(old, scheme): found[new, "SCT"] for old, new in mapping["SRT"].items() if (new, "SCT") in found for scheme in ("SRT", "SNM3")}
    return older | found


def clean_description(text: str, forbidden: frozenset[str]) -> str:
    """The words of a series' description that name a sequence, a plane or a contrast; all else is dropped.

    What the description says of its sequence and of contrast it still says, in words of ours where a dropped one said it ('ohne KM').
    """
    words = [word for word in re.split(r"[^a-z0-9+*]+", text.lower()) if word in _VOCABULARY and word not in forbidden]
    meant, said = read_words(text), read_words(" ".join(words))
    if said.contrast != meant.contrast:
        words = [*([CONTRAST_MARKS[meant.contrast]] if meant.contrast else []), *(word for word in words if not read_words(word).contrast)]
    words = [*(word for word in meant.beyond(said) if word not in forbidden), *words]
    return " ".join(words)[:64].strip()


def option_codes(keep_dates: bool, keep_age_sex: bool) -> list[tuple[str, str]]:
    """(code of scheme DCM, meaning) of the profile and of its options as they were applied (PS3.16 CID 7050)."""
    codes = [("113100", "Basic Application Confidentiality Profile"), ("113105", "Clean Descriptors Option")]
    codes.append(("113106", "Retain Longitudinal Temporal Information Full Dates Option") if keep_dates else
                 ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
    return [*codes, ("113108", "Retain Patient Characteristics Option")] if keep_age_sex else codes
