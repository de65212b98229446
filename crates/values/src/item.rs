//! What a list holds.

/// An item of a [`ShareableList`](crate::ShareableList), as Python's: nothing, a number, a truth value, a text, or bytes.
///
/// ```
/// use polyproc_values::Item;
/// assert_eq!(Item::from("two"), Item::Str("two".to_owned()));
/// assert_eq!(Item::from(()), Item::None);
/// assert_ne!(Item::from(1), Item::from(1.0)); // unlike Python's, of different types
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Item {
    /// Nothing.
    #[default]
    None,
    /// A whole number of 64 bits.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

const NONE: u8 = 0; // the zero page is nothing
const INT: u8 = 1;
const FLOAT: u8 = 2;
const BOOL: u8 = 3;
const STR: u8 = 4;
const BYTES: u8 = 5;

impl Item {
    /// The tag of the item in a slot, and its bytes.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::None => (NONE, Vec::new()),
            Self::Int(n) => (INT, n.to_le_bytes().to_vec()),
            Self::Float(x) => (FLOAT, x.to_le_bytes().to_vec()),
            Self::Bool(b) => (BOOL, vec![u8::from(*b)]),
            Self::Str(s) => (STR, s.as_bytes().to_vec()),
            Self::Bytes(b) => (BYTES, b.clone()),
        }
    }

    /// The item that a slot holds; nothing if that makes no sense.
    pub(crate) fn decode(tag: u8, bytes: Vec<u8>) -> Self {
        let eight = || bytes.as_slice().try_into().ok();
        let item = match tag {
            INT => eight().map(|b| Self::Int(i64::from_le_bytes(b))),
            FLOAT => eight().map(|b| Self::Float(f64::from_le_bytes(b))),
            BOOL => bytes.first().map(|b| Self::Bool(*b != 0)),
            STR => String::from_utf8(bytes).ok().map(Self::Str),
            BYTES => Some(Self::Bytes(bytes)),
            _ => None,
        };
        item.unwrap_or_default()
    }

    /// How many bytes of storage Python gives a slot that is made for the item: 8 for all but texts and bytes, which get one
    /// to eight more than they have.
    ///
    /// ```
    /// use polyproc_values::Item;
    /// assert_eq!([Item::from(1), Item::from("seven…"), Item::from("1234567"), Item::from("12345678")].map(|i| i.room()),
    ///     [8, 16, 8, 16]);
    /// ```
    #[must_use]
    pub fn room(&self) -> usize {
        match self {
            Self::Str(s) => 8 * (s.len() / 8 + 1),
            Self::Bytes(b) => 8 * (b.len() / 8 + 1),
            _ => 8,
        }
    }

    /// How Python's `struct` module would pack the item into a slot of `room` bytes, as `ShareableList.format` tells it.
    ///
    /// ```
    /// use polyproc_values::Item;
    /// assert_eq!([Item::from(1), Item::from(true), Item::from("x")].map(|i| i.format(8)), ["q", "xxxxxxx?", "8s"]);
    /// ```
    #[must_use]
    pub fn format(&self, room: usize) -> String {
        match self {
            Self::None => "xxxxxx?x".to_owned(),
            Self::Int(_) => "q".to_owned(),
            Self::Float(_) => "d".to_owned(),
            Self::Bool(_) => "xxxxxxx?".to_owned(),
            Self::Str(_) | Self::Bytes(_) => format!("{room}s"),
        }
    }
}

macro_rules! from {
    ($($t:ty, $v:ident => $item:expr;)*) => { $(
        impl From<$t> for Item {
            fn from($v: $t) -> Self {
                $item
            }
        }
    )* };
}
from! {
    (), _nothing => Self::None;
    i64, n => Self::Int(n);
    i32, n => Self::Int(n.into());
    u32, n => Self::Int(n.into());
    f64, x => Self::Float(x);
    bool, b => Self::Bool(b);
    &str, s => Self::Str(s.to_owned());
    String, s => Self::Str(s);
    &[u8], b => Self::Bytes(b.to_vec());
    Vec<u8>, b => Self::Bytes(b);
}

impl<T: Into<Item>> From<Option<T>> for Item {
    fn from(item: Option<T>) -> Self {
        item.map_or(Self::None, Into::into)
    }
}
