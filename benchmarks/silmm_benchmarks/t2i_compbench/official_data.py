"""The official files of T2I-CompBench++ that are read (github.com/Karine-Huang/T2I-CompBench)."""

from __future__ import annotations

from silmm_benchmarks.data.data_file import DataFile

OBJECTS = "new_objects.txt"
COMPLEX_SPATIAL = "complex_val_spatial.txt"
COMPLEX_ACTION = "complex_val_action.txt"

_HOME = "https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/1b7094991a57f3c22abdd4f6e8ba6c1a15517073"
_FOLDER = "examples/dataset"
_FACTS = (
    ("color_val.txt", 11_871, "1634259756dbc77d13093d907d414480080ec9790a8c97ad09efaea7b2534f2d"),
    ("shape_val.txt", 15_935, "37e1a276906c7ea9516cbd7ac8501be896006c0c17ca7344f260562834455bae"),
    ("texture_val.txt", 14_211, "fbb5363515b4a28009e360afaaaf389d2dd2289e50dbb0c6ef4ea0c7fe4f3d4f"),
    ("spatial_val.txt", 9_213, "8707a1d7e42ce3002d95363cf55f74bd043c843ae27108f5125aaaa7840ca988"),
    ("3d_spatial_val.txt", 7_851, "c9953597315f36a5fcb41291bb19bdc6ab5f64a0fa760d691b4854a73f5d1fe9"),
    ("numeracy_val.txt", 10_863, "dad8df141604b70ba7554bec724e3db0a80023680769b5c514854ea2d2527bbe"),
    ("non_spatial_val.txt", 17_750, "04c56cc9ac441dc9ea6c5157652058bd1635b5308526dd31bb29a1caab9a758d"),
    ("complex_val.txt", 22_724, "1b808018b8d9916db3d47d5aa2ef18377a3549a56901a474156f799824cdf3b4"),
    (COMPLEX_SPATIAL, 2_898, "6c7ac0ab75c7c9080cfc7b421fb059b9b0febb98471707aeedf58771088abc02"),
    (COMPLEX_ACTION, 17_698, "d49ee4c7f99e3f3379fb8704a54ff5288b83bb412971edf616a4721c2473308e"),
    (OBJECTS, 1_568, "f39a3d2ff6067d7738673cbf465dc659ccc750776162989a5d9916f1d5f3e231"),
)
FILES = tuple(
    DataFile(name, f"{_HOME}/{_FOLDER}/{name}", sha256=digest, size=size, licence="MIT, (c) 2023 HKU")
    for name, size, digest in _FACTS
)
