import struct

import cv2
import numpy as np
import pytest

from nas_mer.data.images import decoded

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_what_was_encoded(suffix):
    content = cv2.imencode(suffix, IMAGE)[1].tobytes()
    np.testing.assert_array_equal(decoded(content, cv2.IMREAD_COLOR), IMAGE)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg", ".tif"])
def test_damaged_files_are_none_and_nothing_is_printed(suffix, capfd):
    content = cv2.imencode(suffix, IMAGE)[1].tobytes()
    for rest in (b"", content[:2], content[: len(content) // 3]):
        assert decoded(rest, cv2.IMREAD_COLOR) is None
    assert capfd.readouterr() == ("", "")
    assert cv2.utils.logging.getLogLevel() > cv2.utils.logging.LOG_LEVEL_SILENT


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**21, 1)])
def test_more_pixels_than_any_image_has(size, capfd):
    content = bytearray(cv2.imencode(".bmp", IMAGE)[1].tobytes())
    content[18:26] = struct.pack("<ii", *size)
    assert decoded(bytes(content), cv2.IMREAD_COLOR) is None
    assert capfd.readouterr() == ("", "")
