//! What handles know while they are encoded and decoded: they travel in messages of this crate only.

use crate::error::MessageError;
use crate::family::Family;
use crate::holds::Ticket;
use crate::kind::Kind;
use crate::named::NamedRef;
use crate::object::Object;
use core::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static ENCODING: RefCell<Option<Vec<Arc<Object>>>> = const { RefCell::new(None) };
    static DECODING: RefCell<Option<Decoding>> = const { RefCell::new(None) };
}

/// While it lives, handles that are serialized on this thread are collected. Scopes nest.
pub(crate) struct Encoding(Option<Vec<Arc<Object>>>);

impl Encoding {
    pub(crate) fn enter() -> Self {
        Self(ENCODING.with(|e| e.borrow_mut().replace(Vec::new())))
    }

    /// The handles so far; the next one is number 0 again.
    #[expect(clippy::unused_self, reason = "there are handles only while it lives")]
    pub(crate) fn take(&self) -> Vec<Arc<Object>> {
        ENCODING.with(|e| e.borrow_mut().as_mut().map(core::mem::take).unwrap_or_default())
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        ENCODING.with(|e| *e.borrow_mut() = self.0.take());
    }
}

/// Whether a message is being encoded on this thread.
pub(crate) fn is_encoding() -> bool {
    ENCODING.with(|e| e.borrow().is_some())
}

/// Adds a handle to the message that is being encoded on this thread; its number, `None` if there is no such message.
pub(crate) fn add_handle(object: &Arc<Object>) -> Option<u32> {
    ENCODING.with(|e| {
        let mut handles = e.borrow_mut();
        let handles = handles.as_mut()?;
        let number = u32::try_from(handles.len()).ok()?;
        handles.push(Arc::clone(object));
        Some(number)
    })
}

/// The message that is being decoded.
pub(crate) struct Decoding {
    pub(crate) family: &'static Family,
    /// The offset of its block.
    pub(crate) message: u64,
    pub(crate) tickets: Vec<Ticket>,
    /// Why a handle could not be decoded: serde's errors carry no values.
    error: Option<MessageError>,
}

/// While it lives, handles can be deserialized on this thread. Scopes nest.
pub(crate) struct DecodingScope(Option<Decoding>);

impl DecodingScope {
    pub(crate) fn enter(family: &'static Family, message: u64, tickets: Vec<Ticket>) -> Self {
        let new = Decoding { family, message, tickets, error: None };
        Self(DECODING.with(|d| d.borrow_mut().replace(new)))
    }

    /// Why a handle could not be decoded.
    #[expect(clippy::unused_self, reason = "there is an error only while it lives")]
    pub(crate) fn error(&self) -> Option<MessageError> {
        DECODING.with(|d| d.borrow_mut().as_mut().and_then(|d| d.error.take()))
    }
}

impl Drop for DecodingScope {
    fn drop(&mut self) {
        DECODING.with(|d| *d.borrow_mut() = self.0.take());
    }
}

const OUTSIDE: &str = "a handle can only be decoded from a message of its family";

/// Opens what a message that is being decoded on this thread says by name.
pub(crate) fn open_handle(name: &NamedRef, kind: Kind, least: u64) -> Result<Arc<Object>, &'static str> {
    if DECODING.with(|d| d.borrow().is_none()) {
        return Err(OUTSIDE);
    }
    name.open(kind, least).map_err(refused)
}

fn refused(e: impl Into<MessageError>) -> &'static str {
    set_error(e.into());
    "the handle could not be decoded"
}

/// Takes handle `number`, of an object of `kind` with at least `least` bytes, out of the message that is being decoded on this thread.
pub(crate) fn take_handle(number: u32, kind: Kind, least: u64) -> Result<Object, &'static str> {
    let found = DECODING.with(|d| {
        let d = d.borrow();
        let d = d.as_ref()?;
        let ticket = usize::try_from(number).ok().and_then(|n| d.tickets.get(n)).copied();
        Some((d.family, d.message, ticket))
    });
    let (family, message, ticket) = found.ok_or(OUTSIDE)?;
    let object = match ticket {
        Some(ticket) => family.take_ticket(message, ticket, (kind, least)),
        None => Err(crate::ShmError::BadHandle),
    };
    object.map_err(refused)
}

/// Says why a handle could not be decoded, if a message is being decoded on this thread.
pub(crate) fn set_error(error: MessageError) {
    DECODING.with(|d| d.borrow_mut().as_mut().map(|d| d.error = Some(error)));
}
