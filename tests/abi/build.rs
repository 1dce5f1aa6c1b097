// SPDX-License-Identifier: GPL-2.0

//! Finds the kernel's `iscsi_proto.h` and makes bindings of it.
//!
//! Where that fails nothing is compared, and `tests/` has one test left: it
//! fails with the sentence that is made here.

use std::env;
use std::fs;
use std::io;
use std::panic;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use bindgen::callbacks::EnumVariantCustomBehavior;
use bindgen::callbacks::EnumVariantValue;
use bindgen::callbacks::IntKind;
use bindgen::callbacks::ParseCallbacks;

/// Names the kernel source tree to compare with.
const SOURCE: &str = "FERRITE_KERNEL_SOURCE";

/// Where the header is in it.
const HEADER: &str = "include/scsi/iscsi_proto.h";

fn main() {
    for name in [
        SOURCE,
        "FERRITE_CACHE",
        "XDG_CACHE_HOME",
        "HOME",
        "LIBCLANG_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for path in ["build.rs", "c", "shims"] {
        println!("cargo:rerun-if-changed={path}");
    }
    match kernel_source().and_then(|source| generate(&source)) {
        Ok(()) => println!("cargo:rustc-cfg=kernel_header"),
        Err(problem) => {
            println!("cargo:warning={problem}");
            // A file that is not there: the next build tries again.
            println!("cargo:rerun-if-changed=none");
            println!("cargo:rustc-env=FERRITE_ABI_PROBLEM={problem}");
        }
    }
}

/// The kernel source tree: the one that the environment names, else the newest
/// in the build cache.
fn kernel_source() -> Result<PathBuf, String> {
    if let Some(source) = env::var_os(SOURCE) {
        let source = PathBuf::from(source);
        if !source.join(HEADER).is_file() {
            return Err(format!("{SOURCE}={}: no {HEADER} there", source.display()));
        }
        return Ok(source);
    }
    let cache = env::var_os("FERRITE_CACHE").map(PathBuf::from).or_else(|| {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
        Some(cache?.join("ferrite"))
    });
    let Some(cache) = cache else {
        return Err(format!("neither {SOURCE}, FERRITE_CACHE nor HOME is set"));
    };
    let sources = cache.join("src");
    println!("cargo:rerun-if-changed={}", sources.display());
    let mut trees = trees(&sources).unwrap_or_default();
    trees.sort_by_cached_key(|tree| version(tree));
    trees.pop().ok_or_else(|| {
        format!(
            "no kernel source with {HEADER} in {}: run `scripts/toolchain prepare`, \
             or name a tree in {SOURCE}",
            sources.display()
        )
    })
}

/// The trees in `sources` that have the header.
fn trees(sources: &Path) -> io::Result<Vec<PathBuf>> {
    let mut trees = Vec::new();
    for entry in fs::read_dir(sources)? {
        let tree = entry?.path();
        if tree.join(HEADER).is_file() {
            trees.push(tree);
        }
    }
    Ok(trees)
}

/// The numbers in the name of a tree, to find the newest.
fn version(tree: &Path) -> Vec<u64> {
    let name = tree.file_name().unwrap_or_default().to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Compiles what only C can tell, and makes Rust of the rest.
fn generate(source: &Path) -> Result<(), String> {
    let include = source.join("include");
    println!("cargo:rerun-if-changed={}", source.join(HEADER).display());
    println!(
        "cargo:rustc-env=FERRITE_ABI_HEADER={}",
        source.join(HEADER).display()
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    cc::Build::new()
        .file("c/abi.c")
        .include("shims")
        .include(&include)
        // The headers belong to someone else.
        .warnings(false)
        .cargo_metadata(true)
        .try_compile("ferrite_abi")
        .map_err(|error| one_line(&format!("c/abi.c does not compile: {error}")))?;

    let macros = Macros::default();
    let builder = bindgen::Builder::default()
        .header("c/abi.h")
        .clang_args(["-nostdinc", "-Ishims"])
        .clang_arg(format!("-I{}", include.display()))
        .allowlist_file(".*/iscsi_proto\\.h")
        .allowlist_type("abi_field|sam_status")
        .allowlist_function("abi_.*")
        .allowlist_var("abi_.*")
        .blocklist_function("iscsi_.*")
        .parse_callbacks(Box::new(macros.clone()));
    // Without libclang bindgen panics.
    let bindings = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()))
        .map_err(|cause| {
            let cause = cause.downcast_ref::<String>().cloned().unwrap_or_default();
            one_line(&format!(
                "bindgen cannot read {HEADER} (is libclang there? Debian: libclang1): {cause}"
            ))
        })?
        .map_err(|error| one_line(&format!("bindgen cannot read {HEADER}: {error}")))?;
    bindings
        .write_to_file(out.join("bindings.rs"))
        .map_err(|error| format!("bindings.rs: {error}"))?;
    fs::write(out.join("constants.rs"), macros.to_rust())
        .map_err(|error| format!("constants.rs: {error}"))
}

/// A message on one line, as the protocol between build script and cargo wants
/// it.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collects every constant that the header defines, so that none is forgotten.
#[derive(Clone, Debug, Default)]
struct Macros(Arc<Mutex<Vec<(String, i64)>>>);

impl Macros {
    fn put(&self, name: &str, value: i64) {
        let mut constants = self.0.lock().expect("no other thread panicked");
        constants.push((name.to_owned(), value));
    }

    fn to_rust(&self) -> String {
        let mut constants = self.0.lock().expect("no other thread panicked").clone();
        constants.sort();
        constants.dedup();
        let lines = constants
            .iter()
            .map(|(name, value)| format!("    ({name:?}, {value}),\n"));
        format!("&[\n{}]\n", lines.collect::<String>())
    }
}

impl ParseCallbacks for Macros {
    fn int_macro(&self, name: &str, value: i64) -> Option<IntKind> {
        let header = ["ISCSI_", "KEY_", "VALUE_", "TARGET_NAME_", "MAX_KEY_"];
        if header.iter().any(|prefix| name.starts_with(prefix)) {
            self.put(name, value);
        }
        None
    }

    /// The SCSI status codes are an enum in another header.
    fn enum_variant_behavior(
        &self,
        _enum_name: Option<&str>,
        name: &str,
        value: EnumVariantValue,
    ) -> Option<EnumVariantCustomBehavior> {
        if name.starts_with("SAM_STAT_") {
            self.put(
                name,
                match value {
                    EnumVariantValue::Boolean(value) => value.into(),
                    EnumVariantValue::Signed(value) => value,
                    EnumVariantValue::Unsigned(value) => {
                        value.try_into().expect("a status is a byte")
                    }
                },
            );
        }
        None
    }
}
