//! The two fonts of a document, and how wide text is in them. Glyphs are those of single characters: the fonts have Latin, Greek and
//! Cyrillic, which need no shaping; what they do not have never comes here.

use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::{
    FontRef, MetadataProvider,
    charmap::Charmap,
    instance::{LocationRef, Size},
    metrics::GlyphMetrics,
};

use super::sheet::Style;

const REGULAR: &[u8] = include_bytes!("../../../../fonts/SourceSans3-Regular.ttf");
const BOLD: &[u8] = include_bytes!("../../../../fonts/SourceSans3-Bold.ttf");

/// Where a word that is wider than its line may be cut, before any character is.
const SEAMS: [char; 6] = ['-', '/', '.', '_', '@', '&'];

/// Both.
pub(super) struct Faces {
    regular: Face,
    bold: Face,
}

/// One of them.
pub(super) struct Face {
    font: Font,
    characters: Charmap<'static>,
    metrics: GlyphMetrics<'static>,
    units: f32,
}

impl Faces {
    /// Reads them.
    pub(super) fn new() -> Option<Self> {
        Some(Self { regular: Face::new(REGULAR)?, bold: Face::new(BOLD)? })
    }

    /// The one that text of this style is in.
    pub(super) fn of(&self, style: Style) -> &Face {
        if style.is_bold { &self.bold } else { &self.regular }
    }

    /// Whether both have this character.
    pub(super) fn have(&self, char: char) -> bool {
        [&self.regular, &self.bold].into_iter().all(|face| face.glyph(char).is_some())
    }
}

impl Face {
    fn new(bytes: &'static [u8]) -> Option<Self> {
        let font = FontRef::new(bytes).ok()?;
        let made = Font::new(bytes.into(), 0)?;
        Some(Self {
            units: made.units_per_em(),
            font: made,
            characters: font.charmap(),
            metrics: font.glyph_metrics(Size::unscaled(), LocationRef::default()),
        })
    }

    pub(super) fn font(&self) -> Font {
        self.font.clone()
    }

    fn glyph(&self, char: char) -> Option<(GlyphId, f32)> {
        let glyph = self.characters.map(char).filter(|glyph| glyph.to_u32() != 0)?;
        let advance = self.metrics.advance_width(glyph).filter(|_| !is_mark(char)).unwrap_or_default();
        Some((GlyphId::new(glyph.to_u32()), advance / self.units))
    }

    /// From the end of a letter to where a mark stands in its middle.
    fn to_middle(&self, glyph: GlyphId, letter: f32) -> f32 {
        let bounds = self.metrics.bounds(skrifa::GlyphId::new(glyph.to_u32()));
        let middle = bounds.map_or(0.0, |bounds| f32::midpoint(bounds.x_min, bounds.x_max) / self.units);
        -letter / 2.0 - middle
    }

    /// How wide text is, at size 1.
    pub(super) fn width(&self, text: &str) -> f32 {
        text.chars().filter_map(|char| self.glyph(char)).map(|(_, advance)| advance).sum()
    }

    /// The glyphs of text. A mark is in the middle of the letter before it.
    pub(super) fn glyphs(&self, text: &str) -> Vec<KrillaGlyph> {
        let mut letter = 0.0;
        let glyphs = text.char_indices().filter_map(|(at, char)| {
            let (glyph, advance) = self.glyph(char)?;
            let aside = if is_mark(char) { self.to_middle(glyph, letter) } else { 0.0 };
            if !is_mark(char) {
                letter = advance;
            }
            Some(KrillaGlyph::new(glyph, advance, aside, 0.0, 0.0, at..at + char.len_utf8(), None))
        });
        glyphs.collect()
    }

    /// Text in lines of this width, at size 1. Put together they are the text again, but for its own ends of lines.
    pub(super) fn lines(&self, text: &str, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.split('\n') {
            let mut line = Line { face: self, width, text: String::new(), taken: 0.0 };
            for word in paragraph.split_inclusive(' ') {
                if self.width(word.trim_end()) <= width {
                    line.put(word, &mut lines);
                    continue;
                }
                for piece in word.split_inclusive(SEAMS) {
                    if self.width(piece.trim_end()) <= width {
                        line.put(piece, &mut lines);
                    } else {
                        let mut buffer = [0; 4];
                        piece.chars().for_each(|char| line.put(char.encode_utf8(&mut buffer), &mut lines));
                    }
                }
            }
            lines.push(line.text);
        }
        lines
    }
}

fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}')
}

/// A line that is being filled.
struct Line<'a> {
    face: &'a Face,
    width: f32,
    text: String,
    taken: f32,
}

impl Line<'_> {
    /// Puts a piece onto it, or onto the next where it does not fit. A space at its end may stand out, and a mark stays with its letter.
    fn put(&mut self, piece: &str, full: &mut Vec<String>) {
        let is_mark = piece.chars().next().is_some_and(is_mark);
        let fits = self.taken + self.face.width(piece.trim_end()) <= self.width;
        if !fits && !is_mark && !self.text.is_empty() {
            full.push(std::mem::take(&mut self.text));
            self.taken = 0.0;
        }
        self.text.push_str(piece);
        self.taken += self.face.width(piece);
    }
}
