#!/bin/sh
# Checks and measures a machine with a GPU, in at most six minutes: benchmarks/device.sh
#
# Needs the folders tangent/, benchmarks/, tests/tangent/ and tests/support/, and Python with torch,
# timm, safetensors, pytest and hypothesis; nothing of the service. Each step has a limit of time; one
# that fails is named at the end, and the others run. `--device cpu --quick` is a look on any machine.
cd "$(dirname "$0")/.." || exit 1
device=cuda quick=
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift 2 ;;
        --quick) quick=--quick; shift ;;
        *) echo "usage: benchmarks/device.sh [--device DEVICE] [--quick]" >&2; exit 2 ;;
    esac
done
python=${PYTHON:-python3}
failed=
export PYTHONPATH="$PWD" CUBLAS_WORKSPACE_CONFIG="${CUBLAS_WORKSPACE_CONFIG:-:4096:8}"

step() { # a name, seconds, a command
    name=$1 limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" || failed="$failed; $name ended with $?"
}

tests="tests/tangent/test_each_device.py tests/tangent/test_each_device_bounds.py
    tests/tangent/components/test_devices.py
    tests/tangent/components/test_exact_products.py tests/tangent/spaces/test_devices.py
    tests/tangent/spaces/test_uploads.py tests/tangent/training/test_recorded_steps.py"
chosen=$device
[ -n "$quick" ] && chosen="$device and changes_of_a_dataset and head-1"
# Without the suite's own options and conftest, which need the service's packages.
# shellcheck disable=SC2086
step "correctness" 110 "$python" -m pytest -q -c /dev/null --rootdir "$PWD" -p no:cacheprovider \
    --import-mode=importlib --confcutdir tests/tangent -k "$chosen" $tests
# shellcheck disable=SC2086
step "table" 190 "$python" -m benchmarks.device --device "$device" $quick
if [ -z "$quick" ]; then
    step "serving" 55 "$python" -m benchmarks.serving --device "$device" \
        --models vit_small_patch16_224 --batches 32 --rounds 3 --json build/serving-device.json
fi
[ -z "$failed" ] && exit 0
echo "FAILED: ${failed#; }"
exit 1
