# Sourced by ./run and ./test: what both need before they can build. POSIX sh, safe to repeat.
#
# Exit codes of both:
#   0   done                      20  packages are missing and we may not install them: the command is printed
#   1   something failed          21  installing packages failed
#   2   usage                     22  no Rust toolchain, and none to be had
#   3-6 as `sira --help` says     23  the build failed
#                                 24  this system is not supported

RUST_MIN_MINOR=95
RUST_MIN="1.$RUST_MIN_MINOR"
POSTGRES_MIN=14
CREATECLUSTER=/etc/postgresql-common/createcluster.conf

say() { printf '%s\n' "$*" >&2; }

# fail CODE MESSAGE FIX
fail() {
    say "error: $2"
    say "fix:   $3"
    exit "$1"
}

now() { date +%s; }

# timed NAME COMMAND...: says what is done and how long it took.
timed() {
    timed_name=$1
    shift
    say "==> $timed_name"
    timed_start=$(now)
    timed_status=0
    "$@" || timed_status=$?
    say "    $timed_name: $(($(now) - timed_start)) s"
    return "$timed_status"
}

has() { command -v "$1" >/dev/null 2>&1; }

# The highest major version of the PostgreSQL programs that would be used; 0 when there are none.
postgres_major() {
    major=0
    for initdb in "${SIRA__POSTGRES__BIN_DIR:-/nonexistent}/initdb" /usr/lib/postgresql/*/bin/initdb "$(command -v initdb || true)"; do
        [ -x "$initdb" ] || continue
        found=$("$initdb" --version 2>/dev/null | sed -n 's/^initdb (PostgreSQL) \([0-9]*\).*/\1/p')
        [ "${found:-0}" -gt "$major" ] && major=$found
    done
    echo "$major"
}

has_c_compiler() { has cc && echo 'int main(void){return 0;}' | cc -x c -include stdio.h -o /dev/null - 2>/dev/null; }

# Sets $packages to what is missing. Who wants more sets $commands_wanted to commands that their packages are named like.
missing_packages() {
    packages=
    [ "$(postgres_major)" -ge "$POSTGRES_MIN" ] || packages="$packages postgresql"
    has_c_compiler || packages="$packages build-essential"
    has setpriv || packages="$packages util-linux"
    for wanted in ${commands_wanted:-}; do
        has "$wanted" || packages="$packages $wanted"
    done
    if ! has_rust && ! has curl; then packages="$packages curl ca-certificates"; fi
    packages=${packages# }
}

# As root, directly or through sudo without a password; fails when we are neither.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2
}

# Debian would make and start a cluster on port 5432; we bring our own and touch nothing else.
install_packages() {
    as_root apt-get update >&2 || return 1
    case " $* " in *" postgresql "*)
        apt_install postgresql-common || return 1
        if ! grep -q '^ *create_main_cluster' "$CREATECLUSTER" 2>/dev/null; then
            say "    no system cluster: create_main_cluster = false in $CREATECLUSTER"
            echo 'create_main_cluster = false' | as_root tee -a "$CREATECLUSTER" >/dev/null || return 1
        fi
        ;;
    esac
    apt_install "$@"
}

ensure_packages() {
    missing_packages
    [ -z "$packages" ] && return 0
    command="apt-get update && apt-get install -y $packages"
    has apt-get || fail 24 "missing: $packages; and this is no Debian or Ubuntu" "install them by hand, then run this again"
    as_root true 2>/dev/null || fail 20 "missing packages: $packages" "as root: $command"
    # shellcheck disable=SC2086 # a list of words
    timed "install $packages" install_packages $packages || fail 21 "installing failed" "as root: $command"
    missing_packages
    [ -z "$packages" ] || fail 21 "still missing: $packages (PostgreSQL $POSTGRES_MIN or later is needed)" "see what apt-get said above"
}

has_rust() {
    has cargo || return 1
    rust_found=$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${rust_found:-0}" -ge "$RUST_MIN_MINOR" ]
}

install_rust() {
    if has rustup; then
        rustup toolchain install "$RUST_MIN" --profile minimal --component rustfmt --component clippy >&2
    else
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs -o "$1" &&
            sh "$1" -y --profile minimal --default-toolchain "$RUST_MIN" --component rustfmt --component clippy >&2
    fi
}

ensure_rust() {
    if ! has cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        export PATH
    fi
    has_rust && return 0
    installer=$(mktemp)
    rust_status=0
    timed "install Rust $RUST_MIN" install_rust "$installer" || rust_status=$?
    rm -f "$installer"
    [ "$rust_status" -eq 0 ] || fail 22 "Rust $RUST_MIN or later is needed and could not be installed" \
        "install it as https://rustup.rs says (is the network there?), then run this again"
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
    if ! has_rust; then
        RUSTUP_TOOLCHAIN=$RUST_MIN
        export RUSTUP_TOOLCHAIN
    fi
    has_rust || fail 22 "rustc is still older than $RUST_MIN" "rustup default $RUST_MIN"
}

# Everything that a build needs. Leaves $target: where cargo puts what it builds.
bootstrap() {
    [ "$(uname -s)" = Linux ] || fail 24 "$(uname -s) is not supported: PostgreSQL is supervised by Linux' means" "use Debian or Ubuntu, a container will do"
    say "==> check: Rust $RUST_MIN, PostgreSQL $POSTGRES_MIN, a C compiler"
    ensure_packages
    ensure_rust
    say "    $(rustc --version), PostgreSQL $(postgres_major), $(cc --version | head -n 1)"
    # Queries were checked when .sqlx was written; a build needs no database.
    SQLX_OFFLINE=true
    export SQLX_OFFLINE
    target=${CARGO_TARGET_DIR:-target}
}
