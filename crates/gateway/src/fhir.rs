//! FHIR R4 resources as strangers send them, and what of them we can keep. Nothing is dropped in silence: what has
//! no place here is refused by name.

pub mod consent;
pub mod element;

pub use element::Unmapped;
