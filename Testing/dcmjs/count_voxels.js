// What dcmjs (the library under OHIF and most web viewers) finds in a SEG: for each segment its name, colour and number of voxels, as JSON.
// node count_voxels.js FILE.dcm, with dcmjs in NODE_PATH.
const fs = require("fs");
const dcmjs = require("dcmjs");

dcmjs.log.setLevel("error");
const bytes = fs.readFileSync(process.argv[2]);
const message = dcmjs.data.DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const seg = dcmjs.data.DicomMetaDictionary.naturalizeDataset(message.dict);
const list = (value) => (Array.isArray(value) ? value : [value]);

const packed = list(seg.PixelData)[0];
const voxels = seg.SegmentationType === "BINARY" ? dcmjs.data.BitArray.unpack(packed) : new Uint8Array(packed);
const frameSize = seg.Rows * seg.Columns;
const counts = {};
list(seg.PerFrameFunctionalGroupsSequence).forEach((frame, index) => {
    const number = list(frame.SegmentIdentificationSequence)[0].ReferencedSegmentNumber;
    const own = voxels.subarray(index * frameSize, (index + 1) * frameSize);
    counts[number] = (counts[number] || 0) + own.reduce((sum, value) => sum + (value ? 1 : 0), 0);
});
console.log(JSON.stringify(list(seg.SegmentSequence).map((segment) => ({
    number: segment.SegmentNumber,
    label: segment.SegmentLabel,
    type: list(segment.SegmentedPropertyTypeCodeSequence)[0].CodeValue,
    rgb: dcmjs.data.Colors.dicomlab2RGB(segment.RecommendedDisplayCIELabValue).map((part) => Math.round(part * 255)),
    voxels: counts[segment.SegmentNumber] || 0,
}))));
