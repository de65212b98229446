//! The handle of a queue; the bytes are [`RawQueue`] and [`Ring`](crate::raw::Ring).

use crate::contents;
use crate::error::{GetError, PutError, SCRIBBLED};
use crate::payload::{cast, claim, is_dead, owner, try_take};
use crate::raw::Ring;
use crate::raw::queue::{IN_BLOCK, Parts, RawQueue, either};
use crate::raw::ring::{NotNow, Owner, Take, Unchecked};
use core::marker::PhantomData;
use core::time::Duration;
use polyproc_shm::{Block, Buffer, Codec, Kind, Message, Object, message};
use polyproc_sync::raw::gate::Side;
use polyproc_sys::Deadline;
use polyproc_sys::spin::Spin;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use std::sync::Arc;

/// A first-in-first-out queue between the processes and threads of a family, like `multiprocessing.Queue`.
///
/// Any number of producers and consumers. An item is any serde type; primitives, `String` and `Vec<u8>` travel without
/// serialisation, a [`Buffer`] without being copied; items may carry handles (locks, other queues). Items up to 48 bytes
/// lie in the queue's slots, larger ones in the family's memory, which grows and shrinks with them. Clones are the same
/// queue.
///
/// There is no feeder thread: an item is in shared memory when `put` returns, so a process may put and exit at once, and
/// may be joined before its items are taken.
///
/// # When a process dies
/// A producer killed in `put` leaves nothing or a whole item. A consumer killed in `get` took its item or did not: at
/// most one is missing for each killed consumer. Nothing is ever torn or doubled, and nobody waits for the dead. A
/// *stopped* producer in the middle of `put` holds up the items behind it: the order is kept.
///
/// # Limits
/// One thread puts into queues that have names while the objects with names that it uses are 63 at most: at the next one
/// it gets [`PutError::Message`]. Those whose last handle here is dropped do not count; `get` is without limit.
///
/// # Examples
/// ```
/// use polyproc_queue::Queue;
/// let q = Queue::bounded(8)?;
/// let producer = q.clone();
/// std::thread::spawn(move || producer.put((1, "one".to_owned()))).join().unwrap()?;
/// assert_eq!(q.get()?, (1, "one".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    object: Arc<Object>,
    pub(crate) parts: Parts,
    _items: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// Puts an item; sleeps while the queue is full.
    ///
    /// # Errors
    /// [`PutError::Message`] if the item cannot be encoded, [`PutError::Broken`].
    ///
    /// # Examples
    /// ```
    /// let q = polyproc_queue::Queue::bounded(1)?;
    /// q.put(vec![0_u8; 100_000])?;
    /// assert_eq!(q.get()?.len(), 100_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::NEVER)
    }

    /// Puts an item if there is room for it.
    ///
    /// # Errors
    /// [`PutError::Full`], and as [`Queue::put`].
    ///
    /// # Examples
    /// ```
    /// let q = polyproc_queue::Queue::bounded(1)?;
    /// assert!(q.try_put(1).is_ok());
    /// assert!(q.try_put(2).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::PAST).map_err(|e| match e {
            PutError::TimedOut(item) => PutError::Full(item),
            e => e,
        })
    }

    /// Puts an item; sleeps for `timeout` at most while the queue is full. [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`PutError::TimedOut`], and as [`Queue::put`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// let q = polyproc_queue::Queue::bounded(1)?;
    /// q.put(1)?;
    /// assert!(q.put_timeout(2, Duration::from_millis(5)).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::after(timeout))
    }

    /// Puts an item; sleeps until `deadline` at most while the queue is full.
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::Deadline;
    /// let q = polyproc_queue::Queue::bounded(1)?;
    /// q.put_deadline(1, Deadline::NEVER)?;
    /// assert!(q.put_deadline(2, Deadline::PAST).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put_deadline(&self, item: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let family = self.object.family();
        let me = match family.participant() {
            Ok(me) => owner(me),
            Err(e) => return Err(PutError::Message { item, source: e.into() }),
        };
        let put = if !is_narrow::<T>() {
            return self.put_wide(me, item, deadline);
        } else if let Ok(Message::Inline { words: [word, ..], .. }) = Message::encode(family, &item) {
            self.put_words(self.parts.ring.narrow(), me, &[word], deadline)
        } else {
            unreachable!("a number is inline")
        };
        put.map_err(|e| not_put(e, item))
    }

    fn put_wide(&self, me: Owner, item: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let item = match cast::<T, Buffer>(item) {
            // In another memory: a copy of it travels.
            Ok(buffer) if buffer.family().id() != self.object.family().id() => {
                cast(buffer).unwrap_or_else(|_| unreachable!("a buffer it was"))
            }
            Ok(buffer) => {
                return self.put_block(me, buffer.into_block(), deadline).map_err(|(e, block)| {
                    // SAFETY: its reference was not put: nobody has seen it.
                    let buffer = unsafe { Buffer::from_block_unchecked(block) };
                    not_put(e, cast(buffer).unwrap_or_else(|_| unreachable!("a buffer it was")))
                });
            }
            Err(item) => item,
        };
        let put = match Message::encode(self.object.family(), &item) {
            Ok(Message::Inline { words: [a, b, c, d, e, f], len }) => {
                self.put_words(self.parts.ring.wide(), me, &[u64::from(len), a, b, c, d, e, f], deadline)
            }
            Ok(Message::Block(block)) => self.put_block(me, block, deadline).map_err(|(e, _)| e),
            Err(source) => return Err(PutError::Message { item, source }),
        };
        put.map_err(|e| not_put(e, item))
    }

    fn put_block(&self, me: Owner, block: Block, deadline: Deadline) -> Result<(), (NotNow, Block)> {
        let [a, b, c, d] = block.ref_().to_words();
        match self.put_words(self.parts.ring.wide(), me, &[IN_BLOCK, a, b, c, d], deadline) {
            Ok(()) => {
                let _ = block.into_ref(); // the queue's, or its consumer's already
                Ok(())
            }
            Err(e) => Err((e, block)),
        }
    }

    #[inline(always)] // as `Ring::put`
    fn put_words<const WIDTH: usize, const N: usize>(
        &self,
        ring: &Ring<'_, WIDTH>,
        me: Owner,
        payload: &[u64; N],
        deadline: Deadline,
    ) -> Result<(), NotNow> {
        let gate = &self.parts.raw.gate;
        let _owes = gate.announce();
        match ring.put(me, payload) {
            Err(NotNow::Blocked) if !deadline.is_past() => self.put_waiting(ring, me, payload, deadline),
            put => {
                gate.ring(Side::Takers);
                put
            }
        }
    }

    #[cold]
    fn put_waiting<const WIDTH: usize, const N: usize>(
        &self,
        ring: &Ring<'_, WIDTH>,
        me: Owner,
        payload: &[u64; N],
        deadline: Deadline,
    ) -> Result<(), NotNow> {
        let gate = &self.parts.raw.gate;
        let mut put = Err(NotNow::Blocked);
        let mut spin = Spin::new();
        while put == Err(NotNow::Blocked) && spin.again() {
            put = ring.put(me, payload);
        }
        if put == Err(NotNow::Blocked) {
            let ready = || {
                put = ring.put(me, payload);
                put != Err(NotNow::Blocked)
            };
            gate.wait(Side::Givers, deadline, ready, || self.settle());
        }
        gate.ring(Side::Takers);
        put
    }

    /// Takes the oldest item; sleeps while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::Message`] if the item's bytes are no `T`, [`GetError::Broken`].
    ///
    /// # Examples
    /// ```
    /// let q = polyproc_queue::Queue::bounded(4)?;
    /// q.put('a')?;
    /// assert_eq!(q.get()?, 'a');
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_deadline(Deadline::NEVER)
    }

    /// Takes the oldest item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`], and as [`Queue::get`].
    ///
    /// # Examples
    /// ```
    /// let q = polyproc_queue::Queue::<u64>::bounded(4)?;
    /// assert!(q.try_get().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_deadline(Deadline::PAST).map_err(|e| match e {
            GetError::TimedOut => GetError::Empty,
            e => e,
        })
    }

    /// Takes the oldest item; sleeps for `timeout` at most while the queue is empty. [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`GetError::TimedOut`], and as [`Queue::get`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::GetError;
    /// use std::time::Duration;
    /// let q = polyproc_queue::Queue::<u64>::bounded(4)?;
    /// assert!(matches!(q.get_timeout(Duration::from_millis(5)), Err(GetError::TimedOut)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_deadline(Deadline::after(timeout))
    }

    /// Takes the oldest item; sleeps until `deadline` at most while the queue is empty.
    ///
    /// # Errors
    /// As [`Queue::get_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::Deadline;
    /// let q = polyproc_queue::Queue::bounded(4)?;
    /// q.put(5)?;
    /// assert_eq!(q.get_deadline(Deadline::NEVER)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get_deadline(&self, deadline: Deadline) -> Result<T, GetError> {
        if !is_narrow::<T>() {
            return self.get_wide(deadline);
        }
        match self.take(self.parts.ring.narrow(), deadline, |_, _| Take::Yes) {
            Ok([word]) => {
                let words = [word, 0, 0, 0, 0, 0];
                Ok(message::decode_inline(self.object.family(), &words, size_of::<T>())?)
            }
            Err(e) => Err(not_taken(e)),
        }
    }

    fn get_wide(&self, deadline: Deadline) -> Result<T, GetError> {
        let family = self.object.family();
        if let Err(e) = family.try_me() {
            return Err(GetError::Message(e.into())); // unknown to the family it could not own a message
        }
        let mut block = None;
        let [len, words @ ..] = self
            .take(self.parts.ring.wide(), deadline, |payload, read| claim(family, payload, read, &mut block))
            .map_err(not_taken)?;
        Ok(match block {
            Some(block) => message::decode_block(block)?,
            None => message::decode_inline(family, &words, usize::try_from(len).unwrap_or(usize::MAX))?,
        })
    }

    /// Takes the next payload that `decide` wants.
    #[inline(always)] // as `Ring::get`
    fn take<const WIDTH: usize, const N: usize>(
        &self,
        ring: &Ring<'_, WIDTH>,
        deadline: Deadline,
        mut decide: impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
    ) -> Result<[u64; N], NotNow> {
        let gate = &self.parts.raw.gate;
        let _owes = gate.announce();
        match try_take(ring, gate, self.object.family(), &mut decide) {
            Err(NotNow::Blocked) if !deadline.is_past() => self.take_waiting(ring, deadline, decide),
            taken => {
                gate.ring(Side::Givers);
                taken
            }
        }
    }

    #[cold]
    fn take_waiting<const WIDTH: usize, const N: usize>(
        &self,
        ring: &Ring<'_, WIDTH>,
        deadline: Deadline,
        mut decide: impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
    ) -> Result<[u64; N], NotNow> {
        let family = self.object.family();
        let gate = &self.parts.raw.gate;
        let mut taken = Err(NotNow::Blocked);
        let mut spin = Spin::new();
        while taken == Err(NotNow::Blocked) && spin.again() {
            taken = try_take(ring, gate, family, &mut decide);
        }
        if taken == Err(NotNow::Blocked) {
            let ready = || {
                taken = try_take(ring, gate, family, &mut decide);
                taken != Err(NotNow::Blocked)
            };
            gate.wait(Side::Takers, deadline, ready, || self.settle());
        }
        gate.ring(Side::Givers);
        taken
    }
}

impl<T> Queue<T> {
    /// Rings for each side that has something to do.
    pub(crate) fn settle(&self) {
        let Parts { raw, ring, .. } = &self.parts;
        if self.has_message() {
            raw.gate.ring(Side::Takers);
        }
        if either!(ring, r => r.has_room()) {
            raw.gate.ring(Side::Givers);
        }
    }

    /// Whether there is something to take, the dead left out.
    pub(crate) fn has_message(&self) -> bool {
        either!(self.parts.ring, r => r.has_message(is_dead(self.object.family())))
    }

    /// How many items the queue holds at most.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::Queue::<u8>::bounded(3)?.capacity(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        usize::try_from(either!(self.parts.ring, r => r.capacity())).unwrap_or(usize::MAX)
    }

    /// How many items it holds; items that are being put or taken count or not, and it may be wrong by the time you look.
    ///
    /// ```
    /// let q = polyproc_queue::Queue::bounded(3)?;
    /// q.put(1)?;
    /// assert_eq!(q.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(either!(self.parts.ring, r => r.len())).unwrap_or(usize::MAX)
    }

    /// Whether it holds no item; may be wrong by the time you look.
    ///
    /// ```
    /// assert!(polyproc_queue::Queue::<u8>::bounded(3)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        either!(self.parts.ring, r => r.is_empty())
    }

    pub(crate) fn of(object: Arc<Object>) -> Option<Self> {
        let parts = RawQueue::at(object.family(), object.offset()).ok().flatten()?;
        Some(Self { object, parts, _items: PhantomData })
    }
}

#[cold]
fn not_put<T>(e: NotNow, item: T) -> PutError<T> {
    match e {
        NotNow::Blocked => PutError::TimedOut(item),
        NotNow::Scribbled => PutError::Broken(item),
    }
}

#[cold]
fn not_taken(e: NotNow) -> GetError {
    match e {
        NotNow::Blocked => GetError::TimedOut,
        NotNow::Scribbled => GetError::Broken,
    }
}

pub(crate) fn is_narrow<T: 'static>() -> bool {
    matches!(Codec::of::<T>(), Codec::Raw { size } if size <= 8)
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { object: Arc::clone(&self.object), parts: self.parts, _items: PhantomData }
    }
}

impl<T> core::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de, T: 'static> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        contents::register_queue();
        let queue = Self::of(message::deserialize_handle(Kind::Queue, size_of::<RawQueue>() as u64, deserializer)?)
            .ok_or_else(|| message::refuse_handle::<Self, _>(SCRIBBLED))?;
        if !queue.holds_items() {
            return Err(message::refuse_handle::<Self, _>("the queue holds items of another type"));
        }
        Ok(queue)
    }
}
