//! The nodes of a document, as they are written: aliases point to their anchors.

use std::{borrow::Cow, collections::HashMap};

use api::{Message, field::cut, message};
use kinds::json::MAX_DEPTH;
use libyaml_safer::{Encoding, Error, ErrorKind, Event, EventData, Parser, ScalarStyle};

/// How long the directives before a document may be together, in bytes: the parser looks through them for each tag.
const MAX_DIRECTIVES: usize = 512;
/// How much is shown of an anchor.
const MAX_ANCHOR: usize = 256;

/// A node by its place among all.
pub type NodeId = u32;

/// What a node is.
pub enum Content {
    /// A text whose tag says what it is. Without a tag it may be anything if it is plain, otherwise it is a string.
    Scalar {
        tag: Option<Box<str>>,
        text: Box<str>,
        plain: bool,
    },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
    /// What an anchor stands at, and its name.
    Alias(NodeId, Box<str>),
}

struct Node {
    line: u32,
    content: Content,
}

/// A document.
pub struct Document {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Document {
    /// Parses the first document of a text; `None` when there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Option<Self>, Message> {
        // The parser stumbles over a tag before a comma. Go says this of what its parser does not explain.
        let parsed = std::panic::catch_unwind(|| Self::parse_all(text));
        parsed.unwrap_or_else(|_stumbled| Err("yaml: unknown problem parsing YAML content".into()))
    }

    fn parse_all(text: &str) -> Result<Option<Self>, Message> {
        if directives(text) > MAX_DIRECTIVES {
            return Err(message!("yaml: exceeded max length of directives of {MAX_DIRECTIVES}"));
        }
        let (text, unended) = ended(text);
        let mut input = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_encoding(Encoding::Utf8);
        parser.set_input_string(&mut input);
        let mut composer = Composer { parser, unended, nodes: Vec::new(), anchors: HashMap::new(), depth: 0 };
        loop {
            match composer.event()?.data {
                EventData::StreamEnd => return Ok(None),
                EventData::DocumentStart { version_directive: Some(version), .. }
                    if (version.major, version.minor) != (1, 1) =>
                {
                    return Err("yaml: found incompatible YAML document".into());
                }
                EventData::DocumentStart { .. } => break,
                _ => {}
            }
        }
        let first = composer.event()?;
        let root = composer.node(first)?;
        Ok(Some(Self { nodes: composer.nodes, root }))
    }

    /// The outermost node.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// What a node is.
    pub fn content(&self, id: NodeId) -> &Content {
        &self.nodes[id as usize].content
    }

    /// The line in which a node begins, counted from 1.
    pub fn line(&self, id: NodeId) -> u32 {
        self.nodes[id as usize].line
    }

    /// Whether a key says that its value is merged into the map.
    pub fn is_merge(&self, id: NodeId) -> bool {
        const MERGE: &str = "tag:yaml.org,2002:merge";
        matches!(self.content(id), Content::Scalar { tag, text, plain }
            if &**text == "<<" && (*plain || tag.as_deref() == Some(MERGE)))
    }
}

/// The complaint about a document that is nested too deep.
pub fn too_deep() -> String {
    format!("yaml: exceeded max depth of {MAX_DEPTH}")
}

/// How long the directives are that a text begins with.
fn directives(text: &str) -> usize {
    let before =
        text.lines().take_while(|line| line.is_empty() || line.starts_with(['%', '#', ' ', '\t', '\r']));
    before.filter(|line| line.starts_with('%')).map(str::len).sum()
}

/// The text with an end of its last line, without which the parser does not read a block; and where the text ended if it
/// had none: the end is not the block's then.
fn ended(text: &str) -> (Cow<'_, str>, Option<u64>) {
    let last = text.rfind('\n').map_or(0, |end| end + 1);
    if text[last..].bytes().all(|b| matches!(b, b' ' | b'\t')) {
        return (text[..last].into(), None);
    }
    (format!("{text}\n").into(), u64::try_from(text.len()).ok())
}

/// Makes nodes of what the parser tells.
struct Composer<'i, 't> {
    parser: Parser<&'i mut &'t [u8]>,
    unended: Option<u64>,
    nodes: Vec<Node>,
    anchors: HashMap<String, NodeId>,
    depth: usize,
}

impl Composer<'_, '_> {
    fn event(&mut self) -> Result<Event, Message> {
        self.parser.parse().map_err(|e| said(&e).into())
    }

    /// The node that begins with an event.
    fn node(&mut self, event: Event) -> Result<NodeId, Message> {
        let line = u32::try_from(event.start_mark.line + 1).unwrap_or(u32::MAX);
        let id = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        // Its place comes before those of what it holds, and an anchor may be meant below itself.
        self.nodes.push(Node { line, content: Content::List(Vec::new()) });
        let content = match event.data {
            EventData::Alias { anchor } => match self.anchors.get(&anchor) {
                Some(target) => Content::Alias(*target, cut(&anchor, MAX_ANCHOR).into()),
                None => {
                    return Err(message!("yaml: unknown anchor '{}' referenced", cut(&anchor, MAX_ANCHOR)));
                }
            },
            EventData::Scalar { anchor, tag, mut value, plain_implicit, style, .. } => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if is_block
                    && self.unended.is_some_and(|end| event.end_mark.index >= end)
                    && value.ends_with('\n')
                {
                    value.pop();
                }
                self.anchor(anchor, id);
                let tag = tag.filter(|tag| !tag.is_empty());
                Content::Scalar { tag: tag.map(Into::into), text: value.into(), plain: plain_implicit }
            }
            EventData::SequenceStart { anchor, .. } => {
                self.anchor(anchor, id);
                let mut items = Vec::new();
                self.below(|composer, event| {
                    items.push(composer.node(event)?);
                    Ok(())
                })?;
                items.shrink_to_fit();
                Content::List(items)
            }
            EventData::MappingStart { anchor, .. } => {
                self.anchor(anchor, id);
                let mut pairs = Vec::new();
                self.below(|composer, event| {
                    let key = composer.node(event)?;
                    let value = composer.event()?;
                    pairs.push((key, composer.node(value)?));
                    Ok(())
                })?;
                pairs.shrink_to_fit();
                Content::Map(pairs)
            }
            _ => return Err("yaml: attempted to parse unknown event".into()),
        };
        self.nodes[id as usize].content = content;
        Ok(id)
    }

    /// The members of a list or map.
    fn below(
        &mut self,
        mut member: impl FnMut(&mut Self, Event) -> Result<(), Message>,
    ) -> Result<(), Message> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep().into());
        }
        loop {
            let event = self.event()?;
            if matches!(event.data, EventData::SequenceEnd | EventData::MappingEnd) {
                self.depth -= 1;
                return Ok(());
            }
            member(self, event)?;
        }
    }

    fn anchor(&mut self, name: Option<String>, id: NodeId) {
        if let Some(name) = name {
            self.anchors.insert(name, id);
        }
    }
}

/// What the parser says, with the line that Go would name.
fn said(error: &Error) -> String {
    let line = |mark: Option<libyaml_safer::Mark>| mark.map_or(0, |mark| mark.line);
    let line = match line(error.problem_mark()) {
        0 => line(error.context_mark()),
        line => line + u64::from(error.kind() == ErrorKind::Scanner),
    };
    let place = if line == 0 { String::new() } else { format!("line {line}: ") };
    format!("yaml: {place}{}", error.problem())
}
