"""Generated C on emulated processors: the golden outputs, and a stream's results beside x86's."""

import subprocess

import keras
import numpy as np
import pytest
from c_programs import compile_program, has, run_stream, stream_main
from kgated_edge import EdgeModel

import kgated

FEATURES, STEPS = 5, 12
pytestmark = pytest.mark.slow
USER = {
    "arm64": ("aarch64-linux-gnu-gcc", "qemu-aarch64", ["-O3"]),
    "arm64 dot products": (
        *("aarch64-linux-gnu-gcc", "qemu-aarch64"),
        ["-O3", "-march=armv8.2-a+dotprod"],
    ),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64", ["-O2"]),
}
# Boards of QEMU: memory for code at 0, for data at 0x20000000.
BOARDS = {
    "Cortex-M4": ("mps2-an386", ["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]),
    "Cortex-M55 with Helium": ("mps3-an547", ["-mcpu=cortex-m55", "-mfloat-abi=hard"]),
}
STARTUP = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "NAME.h"
extern void initialise_monitor_handles(void);
extern char kg_data_start[], kg_data_end[], kg_data_load[], kg_bss_start[], kg_bss_end[];
static NAME_state state;
static const float frames[] = {FRAMES};

static void run(void) {
  float results[RESULT];
  printf("selftest %d\\n", (int)NAME_selftest(&state));
  for (unsigned n = 0; n < sizeof frames / sizeof *frames / FRAME; ++n) {
    if (NAME_step(&state, frames + n * FRAME, results) != 0) exit(4);
    for (unsigned i = 0; i < RESULT; ++i) {
      unsigned bits;
      memcpy(&bits, results + i, sizeof bits);
      printf("%08x\\n", bits);
    }
  }
}

void _fini(void);
void _fini(void) {}
void reset_handler(void);
void reset_handler(void) {
  *(volatile unsigned *)0xE000ED88u |= 0xFu << 20; /* the floating-point unit */
  __asm volatile("dsb\\n isb");
  memcpy(kg_data_start, kg_data_load, (size_t)(kg_data_end - kg_data_start));
  memset(kg_bss_start, 0, (size_t)(kg_bss_end - kg_bss_start));
  initialise_monitor_handles();
  run();
  exit(0);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))0x20040000, reset_handler, abort, abort};
"""
LINKER = """
MEMORY { CODE (rx) : ORIGIN = 0, LENGTH = 512K  DATA (rw) : ORIGIN = 0x20000000, LENGTH = 256K }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.ARM.exidx*) . = ALIGN(8); } > CODE
  .data : { kg_data_start = .; *(.data*) . = ALIGN(8); kg_data_end = .; } > DATA AT > CODE
  kg_data_load = LOADADDR(.data);
  .bss (NOLOAD) : { kg_bss_start = .; *(.bss*) *(COMMON) . = ALIGN(8); kg_bss_end = .; } > DATA
  end = kg_bss_end;
}
"""


L = keras.layers


def cells():
    """Recurrent layers."""
    return [kgated.PeepholeLSTM(18, return_sequences=True), kgated.GRU(7, return_sequences=True)]


def operators_without_cells():
    """Pooling, reductions, convolutions, normalization; a step takes four frames."""
    return [
        L.Dense(6),
        L.ZeroPadding1D((4, 0)),
        L.DepthwiseConv1D(3, dilation_rate=2, depth_multiplier=2, activation="relu6"),
        L.Conv1D(6, 3, padding="causal", groups=3),
        L.PReLU(shared_axes=[1]),
        L.LayerNormalization(),
        L.AveragePooling1D(2),
        L.RMSNormalization(),
        L.MaxPooling1D(2),
        L.Dense(6, "silu"),
        L.GlobalMaxPooling1D(),
    ]


@pytest.fixture(scope="module", params=["none", "dynamic", "dynamic4", "int8", "int8 operators"])
def model(request, tmp_path_factory):
    """Folder, quantization, frames of a step in a row, and the results of this machine."""
    if not has("gcc"):
        pytest.skip("no gcc: C was NOT compiled")
    folder = tmp_path_factory.mktemp("emulated")
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(8, STEPS, FEATURES)).astype(np.float32)
    quantize, _, operators = request.param.partition(" ")
    layers = operators_without_cells() if operators else cells()
    net = keras.Sequential([keras.Input((None, FEATURES)), *layers, L.Dense(3)])
    options = {"quantize": quantize, "calibration": x, "target": "c", "mode": "stream"}
    kgated.to_tflite(net, folder / "m.tflite", **options)
    edge = EdgeModel(folder / "m.tflite")
    frames = x[0].reshape(-1, edge.manifest.frames_per_step * FEATURES)
    program = compile_program(folder, "m", stream_main(frames.shape[1], 3), "-O2")
    expected = run_stream(program, frames, 3)
    assert len(np.unique(expected)) > 3
    litert = edge.run(x[0])
    np.testing.assert_allclose(expected, litert, atol=0.0 if quantize == "int8" else 1e-2)
    return folder, quantize, frames, expected


def check(results, expected, quantize):
    """Integers are the same everywhere; floats differ in their last bits."""
    if quantize == "int8":
        np.testing.assert_array_equal(results, expected)
    else:
        np.testing.assert_allclose(results, expected, atol=1e-5 if quantize == "none" else 3e-3)


@pytest.mark.parametrize("machine", USER)
def test_a_stream_under_user_emulation(model, machine):
    compiler, emulator, flags = USER[machine]
    if not has(compiler, emulator):
        pytest.skip(f"no {compiler} or {emulator}: C was NOT run on {machine}")
    folder, quantize, x, expected = model
    main = stream_main(x.shape[1], 3)
    program = compile_program(folder, "m", main, "-static", *flags, compiler=compiler)
    check(run_stream(program, x, 3, emulator), expected, quantize)


@pytest.mark.parametrize("processor", BOARDS)
def test_a_stream_on_a_microcontroller(model, processor):
    if not has("arm-none-eabi-gcc", "qemu-system-arm"):
        pytest.skip(f"no arm-none-eabi-gcc or qemu-system-arm: C was NOT run on {processor}")
    folder, quantize, x, expected = model
    board, flags = BOARDS[processor]
    (folder / "board.ld").write_text(LINKER)
    numbers = ", ".join(f"{n}f" for n in x.ravel())
    main = (
        STARTUP.replace("FRAMES", numbers).replace("FRAME", str(x.shape[1])).replace("RESULT", "3")
    )
    options = ["-O2", "-mthumb", *flags, "-nostartfiles", "--specs=rdimon.specs"]
    link = [f"-T{folder / 'board.ld'}"]
    program = compile_program(folder, "m", main, *options, *link, compiler="arm-none-eabi-gcc")
    command = ["qemu-system-arm", "-M", board, "-nographic", "-kernel", str(program)]
    command += ["-semihosting-config", "enable=on,target=native"]
    run = subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, (run.stdout, run.stderr)
    first, *bits = run.stdout.decode().split("\n")
    assert first == "selftest 0"
    words = np.array([int(word, 16) for word in bits if word], np.uint32)
    check(words.view(np.float32).reshape(-1, 3), expected, quantize)
