import os

import numpy as np

from gooseguard.experiment.machine import EnergyMeter, describe_cpu, read_memory


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n", "ascii")
    return folder


def test_energy_is_the_sum_over_packages(tmp_path):
    """As `Documentation/power/powercap/powercap.rst` lays it out: zones, and subzones within them."""
    zones = [
        write(
            tmp_path / f"intel-rapl:{i}",
            name=f"package-{i}",
            energy_uj=1_000_000,
            max_energy_range_uj=10_000_000,
        )
        for i in (0, 1)
    ]
    write(tmp_path / "intel-rapl:0:0", name="core", energy_uj=500, max_energy_range_uj=10_000_000)
    write(tmp_path / "intel-rapl:2", name="psys", energy_uj=9, max_energy_range_uj=10_000_000)
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    write(zones[0], energy_uj=3_500_000)
    write(zones[1], energy_uj=1_250_000)
    assert meter.since(before) == 2.75


def test_a_counter_that_wraps_around(tmp_path):
    zone = write(
        tmp_path / "intel-rapl:0", name="package-0", energy_uj=9_000_000, max_energy_range_uj=9_999_999
    )
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    write(zone, energy_uj=500_000)
    assert meter.since(before) == 1.5


def test_what_is_not_reported_is_none(tmp_path):
    assert EnergyMeter(tmp_path / "absent").read() is None
    zone = write(tmp_path / "intel-rapl:0", name="package-0", energy_uj=9, max_energy_range_uj=99)
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    # As where only root may read it.
    (zone / "energy_uj").unlink()
    assert meter.read() is None
    assert meter.since(before) is None
    assert meter.since(None) is None


def test_the_processor_in_words(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor: 0\ncpu family\t: 26\nmodel name\t: AMD EPYC\n\nprocessor: 1\ncpu family: 26\n", "ascii"
    )
    assert describe_cpu(path) == f"{os.cpu_count()} x AMD EPYC (family 26)"
    assert describe_cpu(tmp_path / "absent")


def test_memory_is_what_the_kernel_says(tmp_path):
    path = tmp_path / "status"
    path.write_text("Name:\tpython\nVmHWM:\t  9000 kB\nVmRSS:\t  1234 kB\n", "ascii")
    assert read_memory(path) == 1234 * 1024
    assert read_memory(tmp_path / "absent") is None
    held = np.ones(4 << 20)
    assert read_memory() > held.nbytes
