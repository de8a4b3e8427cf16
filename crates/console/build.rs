//! Embeds the built pages of `web/dist`. Without them the binary builds all the same, and the console says how
//! to get them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let pages = root.join("../../web/dist");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut files = Vec::new();
    if pages.is_dir() {
        let pages = pages.canonicalize()?;
        walk(&pages, &mut files)?;
        files.sort();
        files = files.iter().filter_map(|it| Some(it.strip_prefix(&pages).ok()?.into())).collect();
        let entries: String = files.iter().map(|file| entry(&pages, file)).collect();
        return write(&entries);
    }
    write("")
}

fn entry(pages: &Path, file: &Path) -> String {
    let (path, whole) = (format!("/{}", file.display()), pages.join(file));
    format!("    ({path:?}, include_bytes!({:?})),\n", whole.display().to_string())
}

fn write(entries: &str) -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("pages.rs");
    fs::write(out, format!("&[\n{entries}]\n"))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
