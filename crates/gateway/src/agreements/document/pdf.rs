//! A document as a PDF: tagged for screen readers (PDF/UA-1), fit for an archive (PDF/A-2a), in a font that it carries.
//!
//! First everything is set on sheets (`sheet`), by the font's own widths (`face`); then the sheets are drawn, when it is known how many
//! there are. Nothing here reads a clock or makes a name: the same document is the same bytes. What decides whether it is valid is
//! the library, which refuses to finish a file that is not.

use jiff::tz::TimeZone;
use krilla::{
    Document as File, SerializeSettings,
    color::rgb,
    configure::{Accessibility, Archival, ConfigurationBuilder},
    destination::XyzDestination,
    error::KrillaError,
    geom::{PathBuilder, Point, Rect},
    metadata::{DateTime, Metadata},
    outline::{Outline, OutlineNode},
    page::PageSettings,
    paint::Fill,
    surface::Surface,
    tagging::{Artifact, ArtifactType, ContentTag, Identifier, SpanTag, TagGroup, TagTree},
};

use self::{
    face::{Face, Faces},
    sheet::{Child, Ink, Kind, Sheets, Style},
};
use super::{Document, Part};

mod face;
mod sheet;

const PAGE_WIDTH: f32 = 595.28;
const PAGE_HEIGHT: f32 = 841.89;
const LEFT: f32 = 56.7;
const TOP: f32 = 56.7;
const BOTTOM: f32 = PAGE_HEIGHT - 79.4;
const WIDTH: f32 = PAGE_WIDTH - 2.0 * LEFT;
/// Where the two lines at the foot of a page stand.
const FOOT: [f32; 2] = [PAGE_HEIGHT - 48.0, PAGE_HEIGHT - 35.0];

const BLACK: (u8, u8, u8) = (0x0b, 0x0c, 0x0c);
const GREY: (u8, u8, u8) = (0x50, 0x5a, 0x5f);
const RULE: (u8, u8, u8) = (0xb1, 0xb4, 0xb6);
const TITLE: Style = Style { is_bold: true, size: 26.0, line: 30.0 };
const HEADING: Style = Style { is_bold: true, size: 18.0, line: 23.0 };
const SUBHEADING: Style = Style { is_bold: true, size: 14.0, line: 18.0 };
const BODY: Style = Style { is_bold: false, size: 12.0, line: 16.5 };
const CELL: Style = Style { is_bold: false, size: 11.0, line: 14.5 };
const CELL_NAME: Style = Style { is_bold: true, ..CELL };
const FOOTER: Style = Style { is_bold: false, size: 9.0, line: 12.0 };

/// Why a document could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PdfError {
    /// The fonts of this program cannot be read.
    #[error("the fonts of this program cannot be read")]
    Fonts,
    /// It has no pages of this size.
    #[error("a page has no such size")]
    Size,
    /// The standards are not for one file.
    #[error("the standards do not go together: {0:?}")]
    Standards(krilla::configure::ConfigurationError),
    /// The library found it not to be valid.
    #[error("the document is not valid: {0:?}")]
    Invalid(KrillaError),
}

/// Makes the file.
pub(super) fn make(document: &Document) -> Result<Vec<u8>, PdfError> {
    let faces = Faces::new().ok_or(PdfError::Fonts)?;
    let mut sheets = Sheets::new(&faces, (LEFT, TOP, WIDTH, BOTTOM));
    let replaced = set(document, &faces, &mut sheets);
    if replaced {
        let legend = "Characters that cannot be seen, or that the font of this document does not have, stand as their number in Unicode: \
                      [U+202E] is one.";
        sheets.paragraph(legend, BODY, 6.0);
    }
    let standards = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A2_A)
        .with_accessibility_validator(Accessibility::UA1);
    let configuration = standards.finish().map_err(PdfError::Standards)?;
    let mut file = File::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let identifiers = draw(document, &sheets, &mut file)?;
    let mut tree = TagTree::new().with_lang(Some("en-GB".to_owned()));
    for node in sheets.roots() {
        tree.push(group(&sheets, node, &identifiers));
    }
    file.set_tag_tree(tree);
    file.set_outline(outline(&sheets));
    file.set_metadata(metadata(document));
    file.finish().map_err(PdfError::Invalid)
}

/// Sets it, and says whether any character had to stand as its number.
fn set(document: &Document, faces: &Faces, sheets: &mut Sheets<'_>) -> bool {
    let replaced = std::cell::Cell::new(false);
    let shown = |text: &str| {
        let said = sharing::seen::shown(text, |char| sharing::seen::is_unseen(char) || !faces.have(char));
        replaced.set(replaced.get() || said.matches("[U+").count() > 0);
        said
    };
    sheets.heading(1, &shown(&document.title), TITLE, 0.0);
    for part in &document.parts {
        match part {
            Part::Heading(2, text) => sheets.heading(2, &shown(text), HEADING, 24.0),
            Part::Heading(_, text) => sheets.heading(3, &shown(text), SUBHEADING, 16.0),
            Part::Paragraph(text) => sheets.paragraph(&shown(text), BODY, 8.0),
            Part::Hash(text) => sheets.paragraph(&shown(text), CELL, 6.0),
            Part::Facts(named) => {
                let rows = named.iter().map(|(name, text)| vec![(*name).to_owned(), shown(text)]).collect();
                sheets.table(&[3, 7], None, (&[], rows), (CELL_NAME, CELL));
            }
            Part::Table(table) => {
                let shares: Vec<_> = table.columns.iter().map(|(_, share)| *share).collect();
                let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
                let rows =
                    table.rows.iter().map(|row| row.iter().map(|text| shown(text)).collect()).collect();
                sheets.table(&shares, table.caption, (&names, rows), (CELL_NAME, CELL));
            }
        }
    }
    replaced.get()
}

/// Draws every sheet. Returns the name of each piece of ink that is somebody's to read.
fn draw(
    document: &Document,
    sheets: &Sheets<'_>,
    file: &mut File,
) -> Result<Vec<Vec<Option<Identifier>>>, PdfError> {
    let count = sheets.pages().len();
    let mut identifiers = Vec::with_capacity(count);
    for (number, page) in sheets.pages().iter().enumerate() {
        let settings = PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT).ok_or(PdfError::Size)?;
        let mut open = file.start_page_with(settings);
        let mut surface = open.surface();
        let mut named = Vec::with_capacity(page.len());
        for ink in page {
            named.push(match ink {
                Ink::Rule { y, is_strong } => {
                    rule(&mut surface, *y, *is_strong);
                    None
                }
                Ink::Text { at, style, text, is_repeated: true } => {
                    surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
                    write(&mut surface, sheets.faces().of(*style), *at, (*style, BLACK), text);
                    surface.end_tagged();
                    None
                }
                Ink::Text { at, style, text, is_repeated: false } => {
                    let identifier = surface.start_tagged(ContentTag::Span(SpanTag::empty()));
                    write(&mut surface, sheets.faces().of(*style), *at, (*style, BLACK), text);
                    surface.end_tagged();
                    Some(identifier)
                }
            });
        }
        foot(document, sheets.faces(), &mut surface, (number + 1, count));
        surface.finish();
        open.finish();
        identifiers.push(named);
    }
    Ok(identifiers)
}

/// What stands at the foot of every page: of what it is a page, and the hash that it was made from.
fn foot(document: &Document, faces: &Faces, surface: &mut Surface<'_>, (number, count): (usize, usize)) {
    let face = faces.of(FOOTER);
    let page = format!("Page {number} of {count}");
    let page_width = face.width(&page) * FOOTER.size;
    let name = format!("Agreement {}, version {}", document.id, document.version);
    let fits = face.lines(&name, (WIDTH - page_width - 12.0) / FOOTER.size);
    let name = fits.first().map_or("", String::as_str);
    let hash = format!("SHA-256 of the terms: {}", document.terms_sha256);
    let [above, below] = FOOT;
    surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Footer)));
    write(surface, face, (LEFT, above), (FOOTER, GREY), name);
    write(surface, face, (LEFT + WIDTH - page_width, above), (FOOTER, GREY), &page);
    write(surface, face, (LEFT, below), (FOOTER, GREY), &hash);
    surface.end_tagged();
}

fn write(
    surface: &mut Surface<'_>,
    face: &Face,
    at: (f32, f32),
    (style, tint): (Style, (u8, u8, u8)),
    text: &str,
) {
    surface.set_fill(Some(fill(tint)));
    surface.draw_glyphs(Point::from_xy(at.0, at.1), &face.glyphs(text), face.font(), text, style.size, false);
}

fn rule(surface: &mut Surface<'_>, y: f32, is_strong: bool) {
    let height = if is_strong { 1.2 } else { 0.6 };
    let Some(rect) = Rect::from_xywh(LEFT, y, WIDTH, height) else { return };
    let mut path = PathBuilder::new();
    path.push_rect(rect);
    let Some(path) = path.finish() else { return };
    surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
    surface.set_fill(Some(fill(RULE)));
    surface.draw_path(&path);
    surface.end_tagged();
}

fn fill((red, green, blue): (u8, u8, u8)) -> Fill {
    Fill { paint: rgb::Color::new(red, green, blue).into(), ..Fill::default() }
}

/// A node with everything below it.
fn group(sheets: &Sheets<'_>, node: usize, identifiers: &[Vec<Option<Identifier>>]) -> TagGroup {
    let Some(node) = sheets.node(node) else { return TagGroup::new(Kind::Paragraph.tag()) };
    let mut made = TagGroup::new(node.kind.tag());
    for child in &node.children {
        match child {
            Child::Node(below) => made.push(group(sheets, *below, identifiers)),
            Child::Ink(page, ink) => {
                let identifier = identifiers.get(*page).and_then(|page| page.get(*ink)).copied().flatten();
                identifier.into_iter().for_each(|identifier| made.push(identifier));
            }
        }
    }
    made
}

fn outline(sheets: &Sheets<'_>) -> Outline {
    let mut outline = Outline::new();
    let mut above: Option<OutlineNode> = None;
    for heading in sheets.headings() {
        let at = XyzDestination::new(heading.page, Point::from_xy(LEFT, heading.y));
        let node = OutlineNode::new(heading.text.clone(), at).with_open(true);
        match (&mut above, heading.level) {
            (Some(above), 3) => above.push_child(node),
            _ => above.replace(node).into_iter().for_each(|done| outline.push_child(done)),
        }
    }
    above.into_iter().for_each(|last| outline.push_child(last));
    outline
}

fn metadata(document: &Document) -> Metadata {
    let title = format!("{} – version {}", document.title, document.version);
    let at = document.written.to_zoned(TimeZone::UTC);
    let part = |value: i8| value.unsigned_abs();
    let written = DateTime::new(at.year().unsigned_abs())
        .month(part(at.month()))
        .day(part(at.day()))
        .hour(part(at.hour()))
        .minute(part(at.minute()))
        .second(part(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    Metadata::new()
        .title(title)
        .description(format!("Made from terms whose SHA-256 is {}", document.terms_sha256))
        .keywords(vec![document.id.clone(), document.terms_sha256.clone()])
        .language("en-GB".to_owned())
        .creator("Concordat".to_owned())
        .creation_date(written)
        .document_id(format!("{}/{}/{}", document.id, document.version, document.terms_sha256))
}

#[cfg(test)]
mod tests;
