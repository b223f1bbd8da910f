//! XML as repository data uses it: read as a stream, one event in memory, within bounds of size and depth.
//!
//! Documents that bring their own type definition are refused: nothing in repository data needs one, and entities that expand to entities are
//! how a small file fills a memory. Entities other than XML's own five are not expanded either.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// The longest tag or text accepted, in bytes.
const EVENT_LIMIT: usize = 4 << 20;
/// The deepest nesting accepted; repository data has five levels.
const DEPTH_LIMIT: usize = 64;

/// What happens in a document. Names are without their prefixes.
pub(super) enum Node<'e> {
    /// An element begins.
    Open(&'e BytesStart<'e>),
    /// The innermost element ends.
    Close,
    /// Text in it, entities resolved.
    Text(&'e str),
}

/// Goes through a document, telling `visit` of every node. The error says at which byte of the document and why.
pub(super) fn walk(
    input: impl Read,
    mut visit: impl FnMut(Node<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let since_event = Rc::new(Cell::new(0));
    let bounded =
        Bounded { inner: BufReader::with_capacity(1 << 16, input), since_event: Rc::clone(&since_event) };
    let mut reader = Reader::from_reader(bounded);
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    loop {
        buffer.clear();
        since_event.set(0);
        let at = reader.buffer_position();
        let fail = |reason: &dyn std::fmt::Display| format!("byte {at}: {reason}");
        let event = reader.read_event_into(&mut buffer).map_err(|error| fail(&error))?;
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > DEPTH_LIMIT {
                    return Err(fail(&"elements are nested deeper than in any repository data"));
                }
                visit(Node::Open(&start))
            }
            Event::Empty(start) => visit(Node::Open(&start)).and_then(|()| visit(Node::Close)),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                visit(Node::Close)
            }
            Event::Text(text) => visit(Node::Text(&text.xml10_content())),
            Event::CData(text) => visit(Node::Text(&text.xml10_content())),
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    _ => quick_xml::escape::resolve_xml_entity(&reference.xml10_content()).map(str::to_owned),
                };
                match resolved {
                    Some(text) => visit(Node::Text(&text)),
                    None => Err(format!("unknown entity {}", &*reference.xml10_content())),
                }
            }
            Event::DocType(_) => Err("it brings a document type of its own, which is not accepted".into()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Ok(()),
            Event::Eof if depth > 0 => return Err(fail(&"the document ends in the middle")),
            Event::Eof => return Ok(()),
        }
        .map_err(|reason| fail(&reason))?;
    }
}

/// The value of an attribute, entities resolved.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.key.local_name().as_ref() == name {
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

/// Refuses an event that never ends before it fills the memory.
struct Bounded<R> {
    inner: R,
    since_event: Rc<Cell<usize>>,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.since_event.get() > EVENT_LIMIT {
            let message = format!("a tag or text is longer than {EVENT_LIMIT} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.since_event.set(self.since_event.get() + count);
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<String, String> {
        let mut told = String::new();
        walk(text.as_bytes(), |node| {
            match node {
                Node::Open(element) => {
                    told += &format!("<{} {:?}>", element.local_name().as_ref(), attribute(element, "a")?);
                }
                Node::Close => told += "</>",
                Node::Text(text) => told += text,
            }
            Ok(())
        })?;
        Ok(told)
    }

    /// Check that prefixes are dropped, and that XML's own entities, and only those, are resolved.
    #[test]
    fn nodes() {
        let expected = "<x Some(\"1&2\")><y None>a<bA</></>";
        assert_eq!(
            told("<?xml version='1.0'?><n:x n:a='1&amp;2'><y>a&lt;b&#65;</y></n:x>").unwrap(),
            expected
        );
        assert_eq!(told("<x><y a='1'/></x>").unwrap(), "<x None><y Some(\"1\")></></>");
        assert!(told("<x>&other;</x>").unwrap_err().contains("unknown entity other"));
        assert!(told("<x a='&other;'/>").is_err());
    }

    /// Check that documents with their own entities, without an end, too deep, or with an endless text end in an error that says where.
    #[test]
    fn hostile() {
        let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><x>&b;</x>";
        assert!(told(laughs).unwrap_err().contains("document type of its own"));
        assert!(told("<x><y></y>").unwrap_err().contains("byte"));
        assert!(told("<x></y>").is_err());
        assert!(told(&"<x>".repeat(1_000_000)).unwrap_err().contains("nested deeper"));
        let endless = io::Read::chain(&b"<x a='"[..], io::repeat(b'a'));
        assert!(walk(endless, |_| Ok(())).unwrap_err().contains("longer than"));
        let endless = io::Read::chain(&b"<x>"[..], io::repeat(b'a'));
        assert!(walk(endless, |_| Ok(())).unwrap_err().contains("longer than"));
    }
}
