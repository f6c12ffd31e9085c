//! Headings, paragraphs and tables, set on sheets line by line, with what each line belongs to for whoever has it read to them.

use std::num::NonZeroU16;

use krilla::tagging::{TableHeaderScope, Tag, TagKind};

use super::face::Faces;

/// Between a line of a table and its rules.
const PAD: f32 = 5.0;
/// Between two columns.
const GUTTER: f32 = 12.0;
/// Of a line, what is above its foot.
const RISE: f32 = 0.76;
/// As many lines stay with their heading.
const KEEP: f32 = 60.0;

/// How text looks: sizes and distances in points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) is_bold: bool,
    pub(super) size: f32,
    pub(super) line: f32,
}

/// What is on a sheet.
pub(super) enum Ink {
    Text { at: (f32, f32), style: Style, text: String, is_repeated: bool },
    Rule { y: f32, is_strong: bool },
}

/// What a piece of the document is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Heading(u16, String),
    Paragraph,
    Table,
    Caption,
    Head,
    Body,
    Row,
    ColumnName,
    RowName,
    Cell,
}

impl Kind {
    /// The same as PDF names it.
    pub(super) fn tag(&self) -> TagKind {
        match self {
            Self::Heading(level, text) => {
                Tag::Hn(NonZeroU16::new(*level).unwrap_or(NonZeroU16::MIN), Some(text.clone())).into()
            }
            Self::Paragraph => Tag::P.into(),
            Self::Table => Tag::Table.into(),
            Self::Caption => Tag::Caption.into(),
            Self::Head => Tag::THead.into(),
            Self::Body => Tag::TBody.into(),
            Self::Row => Tag::TR.into(),
            Self::ColumnName => Tag::TH(TableHeaderScope::Column).into(),
            Self::RowName => Tag::TH(TableHeaderScope::Row).into(),
            Self::Cell => Tag::TD.into(),
        }
    }
}

/// A piece of the document, and what is in it.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) children: Vec<Child>,
}

/// What is in a piece: another, or ink on a page.
pub(super) enum Child {
    Node(usize),
    Ink(usize, usize),
}

/// A heading, and where it stands.
pub(super) struct Heading {
    pub(super) level: u16,
    pub(super) text: String,
    pub(super) page: usize,
    pub(super) y: f32,
}

/// The sheets so far.
pub(super) struct Sheets<'a> {
    faces: &'a Faces,
    left: f32,
    top: f32,
    width: f32,
    bottom: f32,
    y: f32,
    pages: Vec<Vec<Ink>>,
    nodes: Vec<Node>,
    roots: Vec<usize>,
    headings: Vec<Heading>,
}

/// A cell in lines, and how far from the left it begins.
struct Cell {
    x: f32,
    lines: Vec<String>,
    style: Style,
    node: Option<usize>,
}

impl<'a> Sheets<'a> {
    /// The first one, empty: left, top, width, and how far down it goes.
    pub(super) fn new(faces: &'a Faces, (left, top, width, bottom): (f32, f32, f32, f32)) -> Self {
        Self {
            faces,
            left,
            top,
            width,
            bottom,
            y: top,
            pages: vec![Vec::new()],
            nodes: Vec::new(),
            roots: Vec::new(),
            headings: Vec::new(),
        }
    }

    pub(super) fn faces(&self) -> &Faces {
        self.faces
    }

    pub(super) fn pages(&self) -> &[Vec<Ink>] {
        &self.pages
    }

    pub(super) fn node(&self, node: usize) -> Option<&Node> {
        self.nodes.get(node)
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = usize> {
        self.roots.iter().copied()
    }

    pub(super) fn headings(&self) -> &[Heading] {
        &self.headings
    }

    /// A heading, with something of what follows it on the same sheet.
    pub(super) fn heading(&mut self, level: u16, text: &str, style: Style, above: f32) {
        let lines = self.faces.of(style).lines(text, self.width / style.size);
        let height: f32 = lines.iter().map(|_| style.line).sum();
        self.space(above);
        if self.y + height + KEEP > self.bottom && height + KEEP < self.bottom - self.top {
            self.turn();
        }
        let node = self.open(Kind::Heading(level, text.to_owned()), None);
        self.headings.push(Heading { level, text: text.to_owned(), page: self.page(), y: self.y });
        self.set(&lines, style, node);
        self.space(style.line * 0.3);
    }

    /// A paragraph.
    pub(super) fn paragraph(&mut self, text: &str, style: Style, below: f32) {
        let lines = self.faces.of(style).lines(text, self.width / style.size);
        let node = self.open(Kind::Paragraph, None);
        self.set(&lines, style, node);
        self.space(below);
    }

    /// A table: how wide its columns are beside each other, what it is called, its columns' names and its rows. Without names of columns
    /// the first cell of a row is its name.
    pub(super) fn table(
        &mut self,
        shares: &[u8],
        caption: Option<&str>,
        (names, rows): (&[&str], Vec<Vec<String>>),
        (name_style, style): (Style, Style),
    ) {
        let columns = self.columns(shares);
        let table = self.open(Kind::Table, None);
        let body_style = |place: usize| if names.is_empty() && place == 0 { name_style } else { style };
        let first = rows.first().map(|row| self.cells(row, &columns, body_style));
        let head = self.cells(names, &columns, |_| name_style);
        let first_height = first.as_deref().map_or(0.0, height).min(KEEP) + height(&head);
        if let Some(caption) = caption {
            self.keep(first_height + name_style.line);
            let node = self.open(Kind::Caption, Some(table));
            self.space(4.0);
            self.set(&[caption.to_owned()], name_style, node);
        } else {
            self.keep(first_height);
        }
        if !names.is_empty() {
            let group = self.open(Kind::Head, Some(table));
            let row = self.open(Kind::Row, Some(group));
            let mut cells = self.cells(names, &columns, |_| name_style);
            for cell in &mut cells {
                cell.node = Some(self.open(Kind::ColumnName, Some(row)));
            }
            self.row(&cells, &[], true);
        }
        let body = self.open(Kind::Body, Some(table));
        for row in &rows {
            let node = self.open(Kind::Row, Some(body));
            let mut cells = self.cells(row, &columns, body_style);
            for (place, cell) in cells.iter_mut().enumerate() {
                let is_name = names.is_empty() && place == 0;
                cell.node = Some(self.open(if is_name { Kind::RowName } else { Kind::Cell }, Some(node)));
            }
            self.row(&cells, &head, false);
        }
        self.space(10.0);
    }

    /// Where each column begins, and how wide it is.
    fn columns(&self, shares: &[u8]) -> Vec<(f32, f32)> {
        let all: f32 = shares.iter().map(|share| f32::from(*share)).sum();
        let mut x = self.left;
        let columns = shares.iter().map(|share| {
            let width = self.width * f32::from(*share) / all.max(1.0);
            let column = (x, width - GUTTER);
            x += width;
            column
        });
        columns.collect()
    }

    fn cells(
        &self,
        texts: &[impl AsRef<str>],
        columns: &[(f32, f32)],
        style: impl Fn(usize) -> Style,
    ) -> Vec<Cell> {
        let cells = texts.iter().zip(columns).enumerate().map(|(place, (text, (x, width)))| {
            let style = style(place);
            let lines = self.faces.of(style).lines(text.as_ref(), width / style.size);
            Cell { x: *x, lines, style, node: None }
        });
        cells.collect()
    }

    /// A row, whole where a sheet can hold it, and otherwise as many lines of it as each can. A new sheet begins with the head.
    fn row(&mut self, cells: &[Cell], head: &[Cell], is_strong: bool) {
        let whole = self.bottom - self.top - height(head);
        if self.y + height(cells) > self.bottom && (height(cells) <= whole || self.y + KEEP > self.bottom) {
            self.turn_with(head);
        }
        let most = cells.iter().map(|cell| cell.lines.len()).max().unwrap_or_default();
        let line = cells.iter().map(|cell| cell.style.line).fold(0.0, f32::max);
        self.y += PAD;
        for place in 0..most {
            if self.y + line > self.bottom {
                self.turn_with(head);
                self.y += PAD;
            }
            for cell in cells {
                if let Some(text) = cell.lines.get(place) {
                    self.put((cell.x, self.y), cell.style, text, cell.node);
                }
            }
            self.y += line;
        }
        self.y += PAD;
        let y = self.y;
        self.ink(Ink::Rule { y, is_strong });
    }

    fn turn_with(&mut self, head: &[Cell]) {
        self.turn();
        if !head.is_empty() {
            self.row(head, &[], true);
        }
    }

    fn set(&mut self, lines: &[String], style: Style, node: usize) {
        for text in lines {
            self.keep(style.line);
            self.put((self.left, self.y), style, text, Some(node));
            self.y += style.line;
        }
    }

    /// Text whose line begins at this height. What belongs to no piece is there again.
    fn put(&mut self, (x, top): (f32, f32), style: Style, text: &str, node: Option<usize>) {
        if text.is_empty() {
            return;
        }
        let at = (x, top + style.line * RISE);
        // Where it is drawn nothing is broken any more: a space is one, whatever held it together.
        let text = text.replace('\u{a0}', " ");
        let ink = Ink::Text { at, style, text, is_repeated: node.is_none() };
        let place = self.ink(ink);
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.children.push(place);
        }
    }

    fn ink(&mut self, ink: Ink) -> Child {
        let page = self.page();
        let Some(sheet) = self.pages.last_mut() else { return Child::Ink(page, 0) };
        sheet.push(ink);
        Child::Ink(page, sheet.len() - 1)
    }

    fn open(&mut self, kind: Kind, above: Option<usize>) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node { kind, children: Vec::new() });
        match above.and_then(|above| self.nodes.get_mut(above)) {
            Some(above) => above.children.push(Child::Node(node)),
            None => self.roots.push(node),
        }
        node
    }

    fn page(&self) -> usize {
        self.pages.len() - 1
    }

    /// Turns the sheet where there is no room for this much.
    fn keep(&mut self, height: f32) {
        if self.y + height > self.bottom && self.y > self.top {
            self.turn();
        }
    }

    fn space(&mut self, height: f32) {
        if self.y > self.top {
            self.y += height;
        }
    }

    fn turn(&mut self) {
        self.pages.push(Vec::new());
        self.y = self.top;
    }
}

fn height(cells: &[Cell]) -> f32 {
    let heights = cells.iter().map(|cell| cell.lines.iter().map(|_| cell.style.line).sum::<f32>());
    let most = heights.fold(0.0, f32::max);
    if cells.is_empty() { 0.0 } else { most + 2.0 * PAD }
}
