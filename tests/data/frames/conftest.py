"""Miniatures of databases as they are delivered, written by hand from the layouts' descriptions."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from openpyxl import Workbook

IMAGES = {
    suffix: cv2.imencode(suffix, np.full((4, 4, 3), 128, np.uint8))[1].tobytes() for suffix in (".jpg", ".bmp", ".png")
}


@dataclass
class Miniature:
    """A database in miniature.

    Attributes:
        layout, form: which.
        frames: frames by folder and a pattern of their files' names.
        header, rows: the annotation.
        workbook: its name.
        clips: (subject, clip) of those that can be used, with label, onset, apex, offset and the numbers of frames.
        decoys: files that belong to something else.
    """

    layout: str
    form: str
    frames: dict
    header: list
    rows: list
    workbook: str
    clips: dict
    decoys: list = field(default_factory=list)

    def write(self, folder, *, preamble=0, workbook=True):
        for pattern, numbers in self.frames.items():
            write_frames(folder, pattern, numbers)
        for decoy in self.decoys:
            write_frames(folder, decoy, [0])
        if workbook:
            write_workbook(folder / self.workbook, [self.header, *self.rows], preamble)
        return folder


def write_frames(folder, pattern, numbers):
    """Write a tiny image for each number."""
    for number in numbers:
        path = folder / pattern.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(IMAGES[path.suffix.lower()])


def write_workbook(path, rows, preamble=0):
    """Write rows as a workbook, below so many rows of text."""
    book = Workbook()
    for index in range(preamble):
        book.active.append([f"Some words on the coding, line {index}"] if index % 2 == 0 else [])
    for row in rows:
        book.active.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


SMIC_HEADER = [
    "Subject",
    "Filename",
    None,
    "OnsetF",
    "OffsetF",
    "Onset2F",
    "Offset2F",
    None,
    "FirstF",
    "LastF",
    "Label",
]
SMIC_ROWS = [
    ["s1", "s1_ne_01", None, 563854, 563859, None, None, None, 563800, 563900, "negative"],
    ["s03", "s03_po_02", None, "200", " 204 ", 210, 215, None, 190, 220, " Positive "],
    [18, "s18_sur_03", None, 30, 33, None, None, None, 1, 60, "negative"],
]
SMIC_CLIPS = {
    ("s01", "s01_ne_01"): ("negative", 563854, None, 563859, [563854, 563855, 563857, 563858, 563859]),
    ("s03", "s03_po_02"): ("positive", 200, None, 204, [200, 201, 202, 203, 204]),
    ("s18", "s18_sur_03"): ("surprise", 30, None, 33, [30, 31, 32, 33]),
}
SMIC_GAP = [563854, 563855, 563857, 563858, 563859]

CASME2_HEADER = [
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion",
]  # fmt: skip
CASME2_ROWS = [
    [1, "EP02_01f", None, 46, 49, 52, None, 12, "happiness"],
    ["01", "EP03_02", None, "99", "102 ", 103.0, None, "4+L10", "Disgust"],
    ["2", "EP02_01f", None, 9, 10, 12, None, "R2", "repression"],
    ["sub26", "EP18_50", None, 1, 3, 5, None, "1+2", " surprise"],
    ["04", "EP12_01f", None, 1, "/", 5, None, 4, "disgust"],
    ["5", "EP09_05f", None, 2, 2, 5, None, 4, "surprise"],
    ["06", "EP01_01", None, 2, 3, 5, None, None, "others"],
    ["06", "EP01_02", None, 2, 3, 5, None, 4, "fear"],
    ["06", "EP01_03", None, 2, 3, 5, None, 4, "sadness"],
]
CASME2_CLIPS = {
    ("sub01", "EP02_01f"): ("positive", 46, 49, 52, list(range(46, 53))),
    ("sub01", "EP03_02"): ("negative", 99, 102, 103, [99, 100, 101, 102, 103]),
    ("sub02", "EP02_01f"): ("negative", 9, 10, 12, [9, 10, 11, 12]),
    ("sub26", "EP18_50"): ("surprise", 1, 3, 5, [1, 2, 3, 4, 5]),
}


def casme2_frames(pattern):
    extents = {
        "sub01/EP02_01f": range(40, 60),
        "sub01/EP03_02": range(99, 104),
        "sub02/EP02_01f": range(8, 14),
        "sub26/EP18_50": range(1, 6),
    }
    left_out = ("sub04/EP12_01f", "sub05/EP09_05f", "sub06/EP01_01", "sub06/EP01_02", "sub06/EP01_03")
    extents |= {clip: range(1, 6) for clip in left_out}
    return {pattern.replace("CLIP", clip): numbers for clip, numbers in extents.items()}


SAMM_HEADER = [
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
    "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
]  # fmt: skip
SAMM_ROWS = [
    ["006", "006_1_2", 1, 5562, 5565, 5568, 7, "Micro - 1/2", "4", "Anger", 3, None],
    [6, "006_1_3", 1, 98, 101, 103, 6, "Micro", 12, "Happiness", 1, "head"],
    ["007", "007_7_1", 7, 9, 10, 12, 4, "Micro", "1+2", "Surprise", 2, None],
    ["013", "013_1_9", 1, 20, 22, 2, 3, "Micro", "14", "Contempt", 7, None],
    ["028", "028_4_1", 4, 30, -1, 34, 5, "Micro", "15", "Sadness", 5, None],
    ["032", "032_3_1", 3, 40, 999, 44, 5, "Micro", "4", "Fear", 6, None],
    ["032", "032_3_2", 3, 50, None, 54, 5, "Micro", "4", "Disgust", 4, None],
    ["033", "033_1_1", 3, 50, 52, 54, 5, "Micro", "4", "Other", 7, None],
]
SAMM_CLIPS = {
    ("006", "006_1_2"): ("negative", 5562, 5565, 5568, list(range(5562, 5569))),
    ("006", "006_1_3"): ("positive", 98, 101, 103, list(range(98, 104))),
    ("007", "007_7_1"): ("surprise", 9, 10, 12, [9, 10, 11, 12]),
    ("013", "013_1_9"): ("negative", 20, 22, 25, list(range(20, 26))),
    ("028", "028_4_1"): ("negative", 30, None, 34, list(range(30, 35))),
    ("032", "032_3_1"): ("negative", 40, None, 44, list(range(40, 45))),
    ("032", "032_3_2"): ("negative", 50, None, 54, list(range(50, 55))),
}


def samm_frames(root):
    return {
        f"{root}006/006_1_2/006_{{:05}}.jpg": range(5562, 5569),
        f"{root}006/006_1_3/006_{{:04}}.jpg": range(90, 110),
        f"{root}007/007_7_1/007_{{}}.jpg": range(9, 13),
        f"{root}013/013_1_9/013_{{:05}}.jpg": range(20, 26),
        f"{root}028/028_4_1/028_{{:05}}.jpg": range(30, 36),
        f"{root}032/032_3_1/032_{{:05}}.jpg": range(40, 46),
        f"{root}032/032_3_2/032_{{:05}}.jpg": range(50, 56),
        f"{root}033/033_1_1/033_{{:05}}.jpg": range(50, 56),
    }


MINIATURES = {
    "smic cropped": Miniature(
        "smic",
        "cropped",
        {
            "SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image{}.bmp": SMIC_GAP,
            "SMIC_all_cropped/HS/s3/micro/positive/s3_po_02/reg_image{}.bmp": range(200, 205),
            "SMIC_all_cropped/HS/s18/micro/surprise/s18_sur_03/reg_image{}.bmp": range(30, 34),
        },
        SMIC_HEADER,
        SMIC_ROWS,
        "SMIC-HS-E_annotation_2019.xlsx",
        SMIC_CLIPS,
        [
            "SMIC_all_cropped/VIS/s1/micro/negative/s1_ne_01/reg_image{}.bmp",
            "SMIC_all_cropped/NIR/s1/micro/negative/s1_ne_01/reg_image{}.bmp",
            "SMIC_all_cropped/HS/s1/non_micro/s1_01/reg_image{}.bmp",
        ],
    ),
    "smic raw": Miniature(
        "smic",
        "raw",
        {
            "SMIC_all_raw/HS/s01/micro/negative/s01_ne_01/image{}.BMP": SMIC_GAP,
            "SMIC_all_raw/HS/s03/micro/positive/s03_po_02/image{}.bmp": range(200, 205),
            "SMIC_all_raw/HS/s18/micro/surprise/s18_sur_03/image{}.bmp": range(30, 34),
        },
        SMIC_HEADER,
        SMIC_ROWS,
        "SMIC-HS-E_annotation.xlsx",
        SMIC_CLIPS,
    ),
    "smic extended": Miniature(
        "smic",
        "extended",
        {
            "HS_long/SMIC-HS-E/s01/s1_ne_01/image{}.jpg": [563850, *SMIC_GAP, 563860],
            "HS_long/SMIC-HS-E/s03/s3_po_02/image{}.jpg": range(190, 221),
            "HS_long/SMIC-HS-E/s18/s18_sur_03/image{}.jpg": range(1, 61),
        },
        SMIC_HEADER,
        SMIC_ROWS,
        "HS_long/SMIC-HS-E_annotation.xlsx",
        SMIC_CLIPS,
        ["NIR_long/SMIC-NIR-E/s01/s1_ne_01/image{}.jpg"],
    ),
    "casme2 cropped": Miniature(
        "casme2",
        "cropped",
        casme2_frames("Cropped/CLIP/reg_img{}.jpg"),
        CASME2_HEADER,
        CASME2_ROWS,
        "CASME2-coding-20140508.xlsx",
        CASME2_CLIPS,
        ["__MACOSX/Cropped/sub01/EP02_01f/._reg_img{}.jpg", "CASME2_RAW_selected/sub01/EP02_01f/img{}.jpg"],
    ),
    "casme2 raw": Miniature(
        "casme2",
        "raw",
        casme2_frames("CASME2-RAW/CLIP/img{}.jpg"),
        CASME2_HEADER,
        CASME2_ROWS,
        "CASME2-coding-20190701.xlsx",
        CASME2_CLIPS,
    ),
    "samm raw": Miniature(
        "samm", "raw", samm_frames(""), SAMM_HEADER, SAMM_ROWS, "SAMM_Micro_FACS_Codes_v2.xlsx", SAMM_CLIPS
    ),
    "samm cropped": Miniature(
        "samm",
        "cropped",
        samm_frames("SAMM_CROP/"),
        SAMM_HEADER,
        SAMM_ROWS,
        "SAMM_20181215_Micro_FACS_Codes_v2.xlsx",
        SAMM_CLIPS,
        ["006/006_1_2/006_{}.jpg"],
    ),
    "casme3a raw": Miniature(
        "casme3a",
        "raw",
        {
            "part_A/data/part_A/spNO.1/a/color/{}.jpg": range(1, 60),
            "part_A/data/part_A/spNO.12/m/color/{:04}.jpg": range(300, 320),
        },
        ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"],
        [
            ["spNO.1", "a", 10, 12, 20, "4", 3, "disgust"],
            ["spNO.1", "a", 30, 33, 35, "12", 1, "happy"],
            ["spNO.1", "a", 40, 40, 45, "12", 1, "happy"],
            ["spNO.12", "m", 301, 305, 319, "1+2", 2, "Surprise"],
            ["spNO.12", "m", 310, 312, 319, "4", 7, "others"],
        ],
        "part_A/annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        {
            ("spNO.1", "a_10"): ("negative", 10, 12, 20, list(range(10, 21))),
            ("spNO.1", "a_30"): ("positive", 30, 33, 35, list(range(30, 36))),
            ("spNO.12", "m_301"): ("surprise", 301, 305, 319, list(range(301, 320))),
        },
        ["part_A/data/part_A/spNO.1/a/depth/{}.png"],
    ),
    "mmew micro": Miniature(
        "mmew",
        "micro",
        {
            "Micro_Expression/anger/S13-07-001/{}.jpg": range(1, 9),
            "Micro_Expression/happiness/S03-01-002/{}.jpg": range(1, 6),
            "S03/others/S03-09-002/{}.jpg": range(1, 6),
        },
        ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"],
        [
            ["S13", "S13-07-001", 647, 650, 654, "4", "anger"],
            ["S03", "S03-01-002", 1, 3, 5, "12", "happiness"],
            [3, "S03-09-002", 1, 3, 5, "4", "others"],
        ],
        "MMEW_Micro_Exp.xlsx",
        {
            ("S13", "S13-07-001"): ("negative", 647, 650, 654, list(range(647, 655))),
            ("S03", "S03-01-002"): ("positive", 1, 3, 5, [1, 2, 3, 4, 5]),
        },
        ["Macro_Expression/anger/S13-07-001/{}.jpg"],
    ),
}


@pytest.fixture(params=MINIATURES)
def miniature(request):
    return MINIATURES[request.param]


@pytest.fixture(scope="session")
def miniatures():
    return MINIATURES


@pytest.fixture(name="write_frames", scope="session")
def _write_frames():
    return write_frames


@pytest.fixture(name="write_workbook", scope="session")
def _write_workbook():
    return write_workbook
