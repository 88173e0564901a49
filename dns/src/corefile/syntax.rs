//! The Caddyfile form that Corefiles have: server blocks of directives, each with words and at most one block of
//! further lines. Knows no directive. Upstream counterpart: CoreDNS' `caddyfile`.

use super::Error;

/// A line of words: a directive, or a line in a directive's block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Where it stands, from 1.
    pub number: usize,
    /// Its words; the first says what it is.
    pub words: Vec<String>,
}

/// A directive with the lines of its block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directive {
    /// The directive's own line.
    pub line: Line,
    /// The lines between its braces.
    pub block: Vec<Line>,
}

/// What is said about some zones at one port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Zones with ports, as in `example.org:53`.
    pub keys: Line,
    /// What is said, in order.
    pub directives: Vec<Directive>,
}

/// Reads a Corefile.
///
/// # Errors
/// Braces that do not match, blocks in blocks.
pub fn parse(text: &str) -> Result<Vec<Server>, Error> {
    let mut servers = Vec::new();
    let mut server: Option<Server> = None;
    let mut in_block = false;
    for mut line in lines(text)? {
        let opens = line.words.last().is_some_and(|word| word == "{");
        if opens {
            line.words.pop();
        }
        let closes = line.words == ["}"];
        match &mut server {
            None if opens => server = Some(Server { keys: line, directives: Vec::new() }),
            None => {
                return Err(Error::at(
                    line.number,
                    format!("Unexpected '{}': expected a server block", line.words.join(" ")),
                ));
            }
            Some(open) if in_block => match (closes, opens) {
                (true, _) => in_block = false,
                (_, true) => {
                    return Err(Error::at(line.number, "Unexpected '{': blocks cannot be nested here"));
                }
                _ => open.directives.last_mut().expect("a block belongs to a directive").block.push(line),
            },
            Some(_) if closes => servers.extend(server.take()),
            Some(_) if opens && line.words.is_empty() => {
                return Err(Error::at(line.number, "Unexpected '{': a directive is missing"));
            }
            Some(open) => {
                open.directives.push(Directive { line, block: Vec::new() });
                in_block = opens;
            }
        }
    }
    match server {
        Some(open) => Err(Error::at(open.keys.number, "Unexpected end of file: '}' is missing")),
        None => Ok(servers),
    }
}

/// The lines that say something, in words; quotation marks hold words together, `#` begins a comment.
fn lines(text: &str) -> Result<Vec<Line>, Error> {
    let mut lines = vec![Line { number: 1, words: Vec::new() }];
    let mut number = 1;
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let words = &mut lines.last_mut().expect("begins with one").words;
        match first {
            '\n' => {
                number += 1;
                if words.is_empty() {
                    lines.pop();
                }
                lines.push(Line { number, words: Vec::new() });
            }
            space if space.is_whitespace() => {}
            '#' => while rest.next_if(|char| *char != '\n').is_some() {},
            '"' => {
                let begun = number;
                let mut word = String::new();
                loop {
                    match rest.next() {
                        Some('\\') if rest.peek() == Some(&'"') => word.extend(rest.next()),
                        Some('"') => break,
                        Some(char) => {
                            number += usize::from(char == '\n');
                            word.push(char);
                        }
                        None => return Err(Error::at(begun, "a quotation mark is not closed")),
                    }
                }
                words.push(word);
            }
            first => {
                let mut word = String::from(first);
                while let Some(char) = rest.next_if(|char| !char.is_whitespace()) {
                    word.push(char);
                }
                words.push(word);
            }
        }
    }
    lines.retain(|line| !line.words.is_empty());
    Ok(lines)
}
