#!/bin/sh
# Install what this folder holds on a machine without a network: `sh install.sh`, as any user, also from read-only media.
#
#   --prefix DIR            where environment, models, data and env.sh come to lie (./alphaf)
#   --python PATH           the Python to use; by default python3.X of the bundle, python3, python
#   --hf-home DIR           an HF_HOME that is there already; by default PREFIX/hf
#   --manifest-sha256 HEX   what SHA256SUMS must have, as `alphaf bundle` printed it: send it another way than the files
#   --replace-refs          let `main` of a model that is in HF_HOME name the bundle's commit; no snapshot is ever changed
#   --check                 verify every file, look at the machine, install nothing
#
# Exit codes: 0 done; 2 command line; 3 the bundle is damaged; 4 the machine lacks something; 5 no room; 6 something else
# is there; 7 pip failed; 10 installed, and `alphaf doctor` is not green; 130 interrupted. Where it says `nothing was
# installed`, nothing was; behind any other code the same call goes on.
set -u
theirs=${LC_ALL-}
export LC_ALL=C # names are bytes: in another locale grep drops the lines that it cannot read
umask u=rwx # a umask that locks its own user out would break every step; what it says of others stays
unset CDPATH PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

fail() { # CODE WHAT WHERE NEXT
    printf 'error: %s\n  where: %s\n  next:  %s\n' "$2" "$3" "$4" >&2
    exit "$1"
}

prefix=alphaf wanted_python='' hf_home='' expected='' replace_refs='' only_check=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --python | --hf-home | --manifest-sha256)
        [ $# -ge 2 ] && [ -n "$2" ] || fail 2 "$1 wants a value" "the command line" "sh install.sh --help"
        case $1 in
        --prefix) prefix=$2 ;;
        --python) wanted_python=$2 ;;
        --hf-home) hf_home=$2 ;;
        *) expected=$2 ;;
        esac
        shift
        ;;
    --replace-refs) replace_refs=1 ;;
    --check) only_check=1 ;;
    -h | --help)
        sed -n '2,/^set -u/{/^#/s/^# \{0,1\}//p;}' "$0"
        exit 0
        ;;
    *) fail 2 "unknown option $1" "the command line" "sh install.sh --help" ;;
    esac
    shift
done

here=$(cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case $hf_home in '') hf_home=$prefix/hf ;; /*) ;; *) hf_home=$PWD/$hf_home ;; esac
for tool in sha256sum tar find sort comm cut sed grep df du mktemp stat; do
    command -v "$tool" >/dev/null || fail 4 "there is no $tool on this machine" "$PATH" "install coreutils, findutils, sed, grep and tar"
done
scratch=$(mktemp -d) || fail 5 "there is no room for temporary files" "${TMPDIR:-/tmp}" "name a folder in TMPDIR"
locked=''
trap 'rm -rf "$scratch"; [ -z "$locked" ] || rm -rf "$locked"' EXIT
trap 'echo "interrupted: the same call goes on" >&2; exit 130' INT TERM HUP

# --- every byte --------------------------------------------------------------------------------------------------

sum_of() { sha256sum <"$1" | cut -c 1-64; }

named() { # PREFIX: each line with what it is
    sed "s|^|  $1: |"
}

differences() { # FOLDER: a line for each file that is not what SHA256SUMS says, missing or too many
    cd -- "$1" || return
    grep -nvE '^[0-9a-f]{64}  [^/]' SHA256SUMS | cut -d : -f 1 | named 'unreadable line of SHA256SUMS'
    grep -E '^[0-9a-f]{64}  [^/]' SHA256SUMS >"$scratch/lines"
    cut -c 67- "$scratch/lines" | sort >"$scratch/listed"
    uniq -d "$scratch/listed" | named 'listed twice'
    grep -E '(^|/)\.{0,2}(/|$)' "$scratch/listed" | named 'listed outside the bundle'
    grep -vE '(^|/)\.{0,2}(/|$)' "$scratch/listed" >"$scratch/inside"
    find . -type f ! -path ./SHA256SUMS | sed 's|^\./||' | sort >"$scratch/there"
    find . ! -type f ! -type d | sed 's|^\./||' | sort | named 'not a file but a link or device'
    find . -type d ! \( -exec test -r {} \; -exec test -x {} \; \) -prune | sed 's|^\./||' | named 'unreadable folder'
    comm -13 "$scratch/inside" "$scratch/there" | named 'not in SHA256SUMS'
    comm -23 "$scratch/inside" "$scratch/there" | named 'missing'
    for name in install.sh facts manifest.json; do
        grep -qx "$name" "$scratch/inside" || echo "$name" | named 'not listed in SHA256SUMS'
    done
    # Only plain files that are listed are read: no pipe is waited for.
    comm -12 "$scratch/inside" "$scratch/there" >"$scratch/both"
    if [ -z "$(comm -3 "$scratch/both" "$scratch/listed")" ]; then
        mv "$scratch/lines" "$scratch/sums"
    else
        while IFS= read -r line; do
            grep -qxF -e "${line#*  }" "$scratch/both" && printf '%s\n' "$line"
        done <"$scratch/lines" >"$scratch/sums"
    fi
    sha256sum -c "$scratch/sums" >"$scratch/checked" 2>/dev/null
    grep -v ': OK$' "$scratch/checked" | sed 's/: FAILED open or read$/ (cannot be read)/; s/: FAILED$//' | named 'changed'
}

verify() { # FOLDER
    if [ ! -f "$1/SHA256SUMS" ] || [ -L "$1/SHA256SUMS" ]; then
        fail 3 "there is no SHA256SUMS: the bundle is not finished, or not wholly copied" "$1" "finish alphaf bundle, copy all of it"
    fi
    listed=$(grep -c . "$1/SHA256SUMS")
    echo "verifying $listed files of $1"
    for _ in 1 2 3 4 5 6 7 8; do cat "$1/SHA256SUMS"; done 2>/dev/null >"$scratch/room" ||
        fail 5 "there is no room for the lists of its files; nothing was installed" "${TMPDIR:-/tmp}" "name a folder in TMPDIR"
    rm -f "$scratch/room"
    (differences "$1") >"$scratch/differences"
    if [ -s "$scratch/differences" ]; then
        cat "$scratch/differences" >&2
        fail 3 "$(grep -c . "$scratch/differences") files are not as they were bundled; nothing was installed" "$1" "copy those files again"
    fi
    # Silence is no proof: a sha256sum that was killed names nothing.
    [ "$(grep -c ': OK$' "$scratch/checked")" = "$listed" ] ||
        fail 3 "not every file could be verified; nothing was installed" "$1, ${TMPDIR:-/tmp}" "call sha256sum -c SHA256SUMS there, and see what stops it"
}

bundle=''
if [ -f "$here/SHA256SUMS" ]; then
    bundle=$(sum_of "$here/SHA256SUMS")
    echo "SHA256SUMS has the SHA-256 $bundle"
    if [ -n "$expected" ] && [ "$(printf %s "$expected" | tr A-F a-f)" != "$bundle" ]; then
        fail 3 "SHA256SUMS is another one than --manifest-sha256 says; nothing was installed" "$here/SHA256SUMS" \
            "compare both numbers with the machine that made the bundle, copy it again"
    fi
fi
verify "$here"

# --- the machine -------------------------------------------------------------------------------------------------

fact() { sed -n "s/^$1=//p" "$here/facts"; }

look='
import importlib.util as found, os, platform, sys, sysconfig
print("version=%d.%d" % sys.version_info[:2])
print("kind=" + sys.implementation.name + ("-free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))
print("machine=" + (platform.machine() if sys.maxsize > 2**32 else "32 bits"))
print("libc=" + " ".join(platform.libc_ver()))
print("venv=%d" % all(found.find_spec(name) for name in ("venv", "ensurepip")))
print("path=" + sys.executable)
print("header=%d" % os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))
'
asked() { sed -n "s/^$1=//p" "$scratch/python"; }

lacking=''
says() { printf 'system: %-12s %s\n' "$1" "$2"; }
lacks() { # NAME WHAT
    lacking="$lacking $1"
    says "$1" "LACKS: $2"
}

find_python() {
    for candidate in ${wanted_python:+"$wanted_python"} "python$(fact python)" python3 python; do
        if "$candidate" -I -c "$look" >"$scratch/python" 2>/dev/null && [ "$(asked version)" = "$(fact python)" ]; then
            asked path
            return
        fi
        [ -z "$wanted_python" ] || return 1
    done
    return 1
}

look_at_libc() {
    libc=$(asked libc)
    needs=$(fact glibc)
    case $libc in
    "glibc "*) ;;
    *)
        lacks glibc "this python runs on ${libc:-another C library}, and the wheels want glibc $needs: use a distribution with glibc"
        return
        ;;
    esac
    number=${libc#glibc }
    minor=${number#*.}
    if [ "${number%%.*}" -eq "${needs%%.*}" ] && [ "${minor%%.*}" -lt "${needs#*.}" ]; then
        lacks glibc "$number is here, the wheels want $needs: use a newer distribution, or bundle with --glibc $number"
    else
        says glibc "$number, the wheels want $needs"
    fi
}

look_at_compiler() { # told, not insisted on: the installation goes without, Triton on a GPU does not
    compiler=$(command -v "${CC:-gcc}" || command -v clang) || compiler=''
    says compiler "${compiler:-MISSING: Triton builds its kernels' launchers with one (apt-get install gcc libc6-dev; dnf install gcc)}"
    header="MISSING: Triton needs it (apt-get install python$(fact python)-dev; dnf install python$(fact python)-devel)"
    [ "$(asked header)" = 1 ] && header="there is one"
    says Python.h "$header"
}

look_at_driver() {
    needs=$(fact driver)
    [ -n "$needs" ] || return 0
    driver=$(sed -n 's/.*Kernel Module[^0-9]*\(x86_64\)\{0,1\}[^0-9]*\([0-9][0-9]*\.[0-9.]*\).*/\2/p' /proc/driver/nvidia/version 2>/dev/null)
    [ -n "$driver" ] || driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | sed -n 1p)
    case $driver in
    [0-9]*.*)
        if [ "${driver%%.*}" -lt "$needs" ]; then
            says driver "TOO OLD: $driver is here, CUDA $(fact cuda) wants $needs or newer: install a newer NVIDIA driver"
        else
            says driver "$driver, CUDA $(fact cuda) wants $needs or newer"
        fi
        ;;
    *) says driver "MISSING: the bundle is for a GPU, CUDA $(fact cuda) wants NVIDIA's driver $needs or newer" ;;
    esac
    cuda=$( (/sbin/ldconfig -p || ldconfig -p) 2>/dev/null | sed -n 's/.*libcuda\.so\.1 .*=> //p' | sed -n 1p)
    says libcuda "${cuda:-MISSING: ldconfig does not list libcuda.so.1, which comes with the driver}"
}

standing() { # PATH: the nearest folder above it that is there
    folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
    printf '%s\n' "$folder"
}

room_for() { # KIB PATH
    free=$(df -Pk -- "$(standing "$2")" | sed -n '2s/  */ /gp' | cut -d ' ' -f 4)
    says room "$(($1 / 1024)) MiB needed, $((free / 1024)) MiB free for $2"
    [ -f "$prefix/.alphaf-bundle" ] || [ "$free" -ge "$1" ] || room_short="$room_short${room_short:+, }$2"
}

look_at_room() {
    # Compiled python and file systems' blocks on top of what wheels unpack to: measured 1.2 for the CPU's lock.
    needed=$(($(fact unpacked) / 1024 * 13 / 10 + $(fact placed) / 1024))
    [ ! -f "$here/bundle.tar.000" ] || needed=$((needed + $(du -sk "$here" | cut -f 1)))
    if [ "$(stat -c %d -- "$(standing "$prefix")")" != "$(stat -c %d -- "$(standing "$hf_home")")" ]; then
        lacked=0
        fact snapshot >"$scratch/snapshots"
        while read -r count place; do
            needed=$((needed - count / 1024))
            [ -d "$hf_home/$place" ] || lacked=$((lacked + count / 1024))
        done <"$scratch/snapshots"
        room_for "$lacked" "$hf_home"
    fi
    room_for "$needed" "$prefix"
}

room_short=''
python=$(find_python) || python=''
if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != "$(fact machine)" ]; then
    lacks machine "this is $(uname -s) on $(uname -m), the bundle is for Linux on $(fact machine)"
fi
if [ -z "$python" ]; then
    : >"$scratch/python"
    lacks python "${wanted_python:-none on the PATH} is no CPython $(fact python) that runs: install it (apt-get install python$(fact python) python$(fact python)-venv), or name it with --python"
else
    says python "$("$python" -V 2>&1), $python"
    [ "$(asked kind)" = cpython ] || lacks python "it is $(asked kind), the wheels are for cpython"
    [ "$(asked machine)" = "$(fact machine)" ] || lacks python "it is built for $(asked machine)"
    [ "$(asked venv)" = 1 ] || lacks venv "the modules venv and ensurepip (apt-get install python$(fact python)-venv)"
    look_at_libc
    look_at_compiler
fi
look_at_driver
look_at_room
[ -z "$lacking" ] || fail 4 "this machine lacks:$lacking; nothing was installed" "the lines above" "bring what they name, then call it again"
[ -z "$room_short" ] || fail 5 "there is no room; nothing was installed" "$room_short" "free some, or name another disk with --prefix or --hf-home"
if [ -n "$only_check" ]; then
    echo "verified; nothing was installed (--check)"
    exit 0
fi

# --- the place ---------------------------------------------------------------------------------------------------

marker=$prefix/.alphaf-bundle # first word: the bundle; second: done
if [ -e "$prefix" ] && [ ! -f "$marker" ] && { [ ! -d "$prefix" ] || [ -n "$(ls -A "$prefix")" ]; }; then
    fail 6 "there is something else than an installation of ours; nothing was installed" "$prefix" "name a new folder with --prefix"
fi
mkdir -p -- "$prefix" 2>"$scratch/said" || fail 6 "the folder cannot be made: $(cat "$scratch/said")" "$prefix" "name another one with --prefix"
[ -w "$prefix" ] || fail 6 "the folder cannot be written" "$prefix" "name another one with --prefix"
installs() { # PID: whether it is another installer; the number may be of before a restart, and anyone's by now
    [ -n "$1" ] && [ "$1" != $$ ] || return 1
    if [ -r "/proc/$1/cmdline" ]; then
        tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q 'install\.sh'
        return
    fi
    case $(kill -0 "$1" 2>&1) in '' | *permitted*) return 0 ;; esac # there, and hidden from this user
    return 1
}
lock=$prefix/.installing
if ! mkdir "$lock" 2>/dev/null; then
    other=$(cat "$lock/pid" 2>/dev/null)
    if installs "$other"; then
        fail 6 "process $other installs there" "$prefix" "wait for it"
    fi
fi
locked=$lock
echo $$ >"$lock/pid"
export TMPDIR="$lock" # a /tmp in memory is often smaller than one wheel of CUDA

source=$here
if [ -f "$here/bundle.tar.000" ]; then
    source=$prefix/.bundle
    echo "joining the parts into $source"
    [ -f "$marker" ] || echo "$bundle" >"$marker"
    rm -rf "$source"
    mkdir "$source"
    cat "$here"/bundle.tar.* | tar -xof - -C "$source" || fail 5 "the parts could not be joined" "$source" "read the line above"
    verify "$source"
fi

sums() { # FOLDER: the lines of SHA256SUMS of what lies below it, by its place there
    grep -E "^[0-9a-f]{64}  $1/" "$source/SHA256SUMS" | sed "s|^\(.\{66\}\)$1/|\1|"
}

conflicts() { # FOLDER DESTINATION: files that are there with other content
    sums "$1" | while IFS= read -r line; do
        place=$2/${line#*  }
        [ ! -e "$place" ] && [ ! -L "$place" ] && continue
        case $1/${line#*  } in
        hub/*/snapshots/*) ;;
        hub/*/refs/*) [ -z "$replace_refs" ] || continue ;;
        esac
        [ -f "$place" ] && [ "$(sum_of "$place")" = "${line%%  *}" ] || printf '  %s\n' "$place"
    done
}
{
    conflicts hub "$hf_home/hub"
    conflicts models "$prefix/models"
    conflicts data "$prefix/data"
} >"$scratch/conflicts"
if [ -s "$scratch/conflicts" ]; then
    cat "$scratch/conflicts" >&2
    fail 6 "these files are there with other content; nothing was installed" "$prefix, $hf_home" \
        "name another --prefix or --hf-home, or move them away; where they are refs, --replace-refs lets them name the bundle's commit"
fi

# --- installing --------------------------------------------------------------------------------------------------

for name in $(env | sed -n 's/^\(PIP_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONUTF8=1
log=$prefix/install.log

environment() { # NAME
    place=$prefix/$1
    if [ "$(cat "$place/.alphaf-bundle" 2>/dev/null)" = "$(sum_of "$source/requirements/$1.txt") $place" ] && "$place/bin/python" -c '' 2>/dev/null; then
        echo "$1 is installed"
        return
    fi
    busy=$(printf '%s\n' "$place/bin/" | grep -lF -f - /proc/[0-9]*/cmdline 2>/dev/null)
    [ -z "$busy" ] || fail 6 "processes still run from the environment to remake" \
        "$place, in use by process $(printf %s "$busy" | tr -c 0-9 ' ' | tr -s ' ')" "wait for them"
    rm -rf "$place" # from nothing: an interrupted install leaves packages that pip takes for whole
    begun=$(date +%s)
    echo "installing $(grep -c . "$source/requirements/$1.txt") packages into $place, log: $log"
    if ! "$python" -m venv "$place" >>"$log" 2>&1 ||
        ! "$place/bin/python" -m pip --isolated install --no-index --no-deps --no-compile --require-hashes \
            --progress-bar off --find-links "$source/wheels" -r "$source/requirements/$1.txt" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail 7 "the packages were not installed" "$log" "mend what the lines above name, then call it again"
    fi
    # On all processors, where pip uses one. Some packages ship files that are no Python 3.
    "$place/bin/python" -m compileall -q -j 0 -x /tests/ "$place/lib" >>"$log" 2>&1
    echo "$(sum_of "$source/requirements/$1.txt") $place" >"$place/.alphaf-bundle"
    echo "installed in $(($(date +%s) - begun)) s"
}

placed() { # FOLDER DESTINATION MODE
    sums "$1" >"$scratch/place"
    [ -s "$scratch/place" ] || return 0
    echo "placing $(grep -c . "$scratch/place") files in $2"
    while IFS= read -r line; do
        name=${line#*  }
        if [ -f "$2/$name" ] && [ "$(sum_of "$2/$name")" = "${line%%  *}" ]; then continue; fi
        mkdir -p -- "$(dirname -- "$2/$name")" || exit 5
        rm -f "$2/$name.alphaf-partial"
        (umask 077 && cat "$source/$1/$name" >"$2/$name.alphaf-partial") || fail 5 "a file could not be written" "$2/$name" "free some room, then call it again"
        # Read again: a disk that lies is found now, not in the third hour of a training.
        [ "$(sum_of "$2/$name.alphaf-partial")" = "${line%%  *}" ] || fail 3 "what was written is not what was read" "$2/$name" "look at the disk, then call it again"
        chmod "$3" "$2/$name.alphaf-partial"
        mv -f "$2/$name.alphaf-partial" "$2/$name"
    done <"$scratch/place" || exit
}

quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

echo "$bundle" >"$marker"
for name in $(fact environments); do environment "$name" || exit; done
placed hub "$hf_home/hub" 644 || exit
placed models "$prefix/models" 644 || exit
placed data "$prefix/data" 600 || exit
cp "$here/manifest.json" "$prefix/manifest.json"
cat >"$prefix/env.sh" <<END
# . env.sh: alphaf on the PATH, its models found, nothing asked of a network
export PATH=$(quoted "$prefix/venv/bin"):"\$PATH"
export HF_HOME=$(quoted "$hf_home")
export ALPHAF_CACHE=$(quoted "$prefix/cache")
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
END
rm -rf "$prefix/.bundle"
echo "$bundle done" >"$marker"
unset TMPDIR LC_ALL
[ -z "$theirs" ] || export LC_ALL="$theirs"
rm -rf "$lock"
locked=''
cd -- "$prefix" || exit 6
# shellcheck disable=SC1091
. ./env.sh
alphaf doctor
code=$?
if [ $code -ne 0 ]; then
    fail 10 "installed, and alphaf doctor is not green (exit code $code)" "the lines above that begin with fail" "do what they say, then: . $prefix/env.sh; alphaf doctor"
fi
echo "done: . $(quoted "$prefix/env.sh")"
