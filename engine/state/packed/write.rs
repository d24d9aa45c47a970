//! Writing the packed form.

use serde::ser::{self, Serialize};

use super::{IDS_MAX, TEXTS_MAX, TIME_BASE, Words, Wrong, is_word};

pub(super) struct Writer<'w> {
    words: &'w mut Words,
    out: &'w mut Vec<u8>,
    /// Where the texts that can be referred to stand: offset in `out`, and length.
    texts: Vec<(usize, usize)>,
    ids: Vec<u128>,
    time: i64,
    /// The value that is written next is of a field whose values are words.
    word: bool,
}

impl<'w> Writer<'w> {
    pub(super) fn new(words: &'w mut Words, out: &'w mut Vec<u8>) -> Self {
        Writer { words, out, texts: Vec::new(), ids: Vec::new(), time: TIME_BASE, word: false }
    }

    fn varint(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn length(&mut self, len: Option<usize>) -> Result<(), Wrong> {
        let len = len.ok_or_else(|| Wrong("a list that does not know its length".to_owned()))?;
        self.varint(len as u128);
        Ok(())
    }

    /// 0 and 1 are the ends of time; otherwise two bits of unit below the difference to the time before.
    fn time(&mut self, value: i64) {
        match value {
            i64::MIN => return self.out.push(0),
            i64::MAX => return self.out.push(1),
            _ => {}
        }
        let since = value.wrapping_sub(self.time);
        self.time = value;
        let (unit, since) = match since {
            whole if whole % 1_000_000 == 0 => (2, whole / 1_000_000),
            whole if whole % 1_000 == 0 => (1, whole / 1_000),
            odd => (0, odd),
        };
        self.varint(((u128::from(zigzag(since)) << 2) | unit) + 2);
    }

    fn text(&mut self, bytes: &[u8]) {
        let is_word = std::mem::take(&mut self.word);
        if let Some(number) = is_word.then(|| self.words.number(bytes)).flatten() {
            return self.varint(u128::from(number) << 2 | 2);
        }
        let known = self.texts.iter().position(|(from, len)| &self.out[*from..from + len] == bytes);
        if let Some(known) = known {
            return self.varint((known as u128) << 2 | 1);
        }
        self.varint((bytes.len() as u128) << 2);
        if self.texts.len() < TEXTS_MAX {
            self.texts.push((self.out.len(), bytes.len()));
        }
        self.out.extend_from_slice(bytes);
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

macro_rules! unsigned {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), Wrong> {
            self.word = false;
            self.varint(u128::from(value));
            Ok(())
        }
    )*};
}

macro_rules! signed {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), Wrong> {
            self.word = false;
            self.varint(u128::from(zigzag(i64::from(value))));
            Ok(())
        }
    )*};
}

impl ser::Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Wrong;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    unsigned!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_char: char);
    signed!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Wrong> {
        self.serialize_u8(u8::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), Wrong> {
        if self.word {
            self.text(&value.to_le_bytes());
        } else {
            self.varint(u128::from(value));
        }
        Ok(())
    }

    /// Every number of this type is a time.
    fn serialize_i64(self, value: i64) -> Result<(), Wrong> {
        self.word = false;
        self.time(value);
        Ok(())
    }

    /// Every number of this type is an id.
    fn serialize_u128(self, value: u128) -> Result<(), Wrong> {
        self.word = false;
        match self.ids.iter().position(|id| *id == value) {
            Some(known) => self.out.push(known as u8 + 1),
            None => {
                if self.ids.len() < IDS_MAX {
                    self.ids.push(value);
                }
                self.out.push(0);
                self.out.extend_from_slice(&value.to_be_bytes());
            }
        }
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Wrong> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Wrong> {
        self.word = false;
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Wrong> {
        self.text(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Wrong> {
        self.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Wrong> {
        self.word = false;
        self.out.push(0);
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Wrong> {
        self.out.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Wrong> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Wrong> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Wrong> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Wrong> {
        self.serialize_u32(index)?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Wrong> {
        self.word = false;
        self.length(len)?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Wrong> {
        self.word = false;
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self, Wrong> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Wrong> {
        self.serialize_u32(index)?;
        Ok(self)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, Wrong> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self, Wrong> {
        self.serialize_tuple(len)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Wrong> {
        self.serialize_u32(index)?;
        Ok(self)
    }
}

macro_rules! elements {
    ($($of:ident::$name:ident),*) => {$(
        impl ser::$of for &mut Writer<'_> {
            type Ok = ();
            type Error = Wrong;

            fn $name<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Wrong> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Wrong> {
                Ok(())
            }
        }
    )*};
}

macro_rules! fields {
    ($($of:ident),*) => {$(
        impl ser::$of for &mut Writer<'_> {
            type Ok = ();
            type Error = Wrong;

            fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Wrong> {
                self.word = is_word(name);
                value.serialize(&mut **self)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), Wrong> {
                Err(Wrong(format!("field {name} is left out at times: without names, the rest could not be told")))
            }

            fn end(self) -> Result<(), Wrong> {
                Ok(())
            }
        }
    )*};
}

elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);
fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = Wrong;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Wrong> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Wrong> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Wrong> {
        Ok(())
    }
}
