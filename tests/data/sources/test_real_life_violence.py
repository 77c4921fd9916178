"""Real Life Violence Situations: the archive's second copy is left out, and an empty video named."""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from published import opened, skipping


def mp4(duration):
    def box(kind, contents):
        return struct.pack(">I", len(contents) + 8) + kind + contents

    header = struct.pack(">IIIII", 0, 0, 0, 1000, duration) + bytes(80)
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", header))


def test_videos_by_folder_each_once(tmp_path):
    inner = "Real Life Violence Dataset"
    for outer in ("", "real life violence situations/"):
        for name, data in {"Violence/V_1.mp4": mp4(5000), "NonViolence/NV_1.mp4": mp4(4000)}.items():
            path = tmp_path / f"{outer}{inner}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (tmp_path / inner / "Violence" / "V_2.mp4").write_bytes(b"")
    (tmp_path / inner / "Violence" / "V_3.mp4").write_bytes(mp4(0))
    [source] = opened("real_life_violence", tmp_path)
    assert len(source.files) == 4
    rows, shown = skipping("real_life_violence", tmp_path)
    assert [(row.example.id, dict(row.example.labels)) for row in rows] == [
        (f"real_life_violence/{inner}/NonViolence/NV_1.mp4", {"violence": 0.0}),
        (f"real_life_violence/{inner}/Violence/V_1.mp4", {"violence": 1.0}),
    ]
    assert shown == [
        f"{inner}/Violence/V_2.mp4: has no bytes; download it again",
        f"{inner}/Violence/V_3.mp4: is a video of zero length",
    ]
