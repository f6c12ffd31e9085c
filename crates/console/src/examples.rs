//! The policies of this repository, for tests that need some.

use std::path::Path;

use sharing::{PolicySet, policy::PolicyFile};

/// All of them.
pub(crate) fn policies() -> PolicySet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = Vec::new();
    for below in ["organisations", "catalogue", "agreements", "guardrails", "schema", "alerts"] {
        let Ok(found) = std::fs::read_dir(folder.join(below)) else { continue };
        for entry in found {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(PolicyFile { path: format!("{below}/{name}"), text });
        }
    }
    if let Ok(text) = std::fs::read_to_string(folder.join("retention.toml")) {
        files.push(PolicyFile { path: "retention.toml".to_owned(), text });
    }
    PolicySet::load(&files).unwrap()
}
