//! Reading the packed form. Every length is held against the bytes that are left, so what is read is never more than a
//! small multiple of what was given.

use serde::de::{self, DeserializeSeed, Visitor};

use super::{IDS_MAX, TEXTS_MAX, TIME_BASE, Words, Wrong, is_word};

pub(super) struct Reader<'r> {
    rest: &'r [u8],
    words: &'r Words,
    texts: Vec<&'r [u8]>,
    ids: Vec<u128>,
    time: i64,
    word: bool,
}

fn wrong<T>(what: &str) -> Result<T, Wrong> {
    Err(Wrong(what.to_owned()))
}

impl<'r> Reader<'r> {
    pub(super) fn new(bytes: &'r [u8], words: &'r Words) -> Self {
        Reader { rest: bytes, words, texts: Vec::new(), ids: Vec::new(), time: TIME_BASE, word: false }
    }

    /// Bytes that are left.
    pub(super) fn rest(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Result<u8, Wrong> {
        let Some((byte, rest)) = self.rest.split_first() else { return wrong("ends too early") };
        self.rest = rest;
        Ok(*byte)
    }

    fn bytes(&mut self, len: usize) -> Result<&'r [u8], Wrong> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else { return wrong("ends too early") };
        self.rest = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u128, Wrong> {
        let mut value = 0;
        // Ten bytes hold every number of 64 bits, with the two or three bits that are added to some.
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        wrong("a number without end")
    }

    fn number<N: TryFrom<u128>>(&mut self) -> Result<N, Wrong> {
        self.word = false;
        N::try_from(self.varint()?).or_else(|_| wrong("a number too large"))
    }

    fn signed<N: TryFrom<i64>>(&mut self) -> Result<N, Wrong> {
        let value: u64 = self.number()?;
        N::try_from(unzigzag(value)).or_else(|_| wrong("a number too large"))
    }

    fn length(&mut self) -> Result<usize, Wrong> {
        let len: usize = self.number()?;
        // Nothing that is listed takes less than a byte.
        if len > self.rest.len() { wrong("a list longer than what is left") } else { Ok(len) }
    }

    fn time(&mut self) -> Result<i64, Wrong> {
        self.word = false;
        let code = match self.varint()? {
            0 => return Ok(i64::MIN),
            1 => return Ok(i64::MAX),
            code => code - 2,
        };
        let scale = match code & 3 {
            0 => 1,
            1 => 1_000,
            2 => 1_000_000,
            _ => return wrong("a time of no unit"),
        };
        let since = u64::try_from(code >> 2).or_else(|_| wrong("a time too far"))?;
        self.time = self.time.wrapping_add(unzigzag(since).wrapping_mul(scale));
        Ok(self.time)
    }

    fn text(&mut self) -> Result<&'r [u8], Wrong> {
        self.word = false;
        let code = self.varint()?;
        let number = u64::try_from(code >> 2).or_else(|_| wrong("a text too long"))?;
        match code & 3 {
            0 => {
                let text = self.bytes(usize::try_from(number).or_else(|_| wrong("a text too long"))?)?;
                if self.texts.len() < TEXTS_MAX {
                    self.texts.push(text);
                }
                Ok(text)
            }
            1 => match usize::try_from(number).ok().and_then(|at| self.texts.get(at)) {
                Some(text) => Ok(text),
                None => wrong("a text that was not given"),
            },
            2 => match self.words.word(number) {
                Some(word) => Ok(word),
                None => wrong("a word that is not known"),
            },
            _ => wrong("a text of no kind"),
        }
    }

    fn str(&mut self) -> Result<&'r str, Wrong> {
        std::str::from_utf8(self.text()?).or_else(|_| wrong("a text that is no UTF-8"))
    }

    fn id(&mut self) -> Result<u128, Wrong> {
        self.word = false;
        match self.byte()? {
            0 => {
                let bytes = self.bytes(16)?.try_into().expect("sixteen bytes were asked for");
                let id = u128::from_be_bytes(bytes);
                if self.ids.len() < IDS_MAX {
                    self.ids.push(id);
                }
                Ok(id)
            }
            known => match self.ids.get(usize::from(known) - 1) {
                Some(id) => Ok(*id),
                None => wrong("an id that was not given"),
            },
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

macro_rules! primitives {
    ($($name:ident $visit:ident $read:ident),*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            visitor.$visit(self.$read()?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Wrong;

    primitives!(
        deserialize_u8 visit_u8 number,
        deserialize_u16 visit_u16 number,
        deserialize_u32 visit_u32 number,
        deserialize_i8 visit_i8 signed,
        deserialize_i16 visit_i16 signed,
        deserialize_i32 visit_i32 signed,
        deserialize_i64 visit_i64 time,
        deserialize_u128 visit_u128 id,
        deserialize_str visit_borrowed_str str,
        deserialize_string visit_borrowed_str str,
        deserialize_bytes visit_borrowed_bytes text,
        deserialize_byte_buf visit_borrowed_bytes text
    );

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wrong> {
        wrong("packed values do not say what they are")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.number::<u8>()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => wrong("neither true nor false"),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match char::from_u32(self.number()?) {
            Some(char) => visitor.visit_char(char),
            None => wrong("no character"),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if !self.word {
            return visitor.visit_u64(self.number()?);
        }
        match self.text()?.try_into() {
            Ok(bytes) => visitor.visit_u64(u64::from_le_bytes(bytes)),
            Err(_) => wrong("a word that is no number"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.word = false;
        let bytes = self.bytes(8)?.try_into().expect("eight bytes were asked for");
        visitor.visit_f64(f64::from_le_bytes(bytes))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.byte()? {
            0 => {
                self.word = false;
                visitor.visit_none()
            }
            1 => visitor.visit_some(self),
            _ => wrong("neither there nor absent"),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let left = self.length()?;
        visitor.visit_seq(Elements { reader: self, left, fields: &[] })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.word = false;
        visitor.visit_seq(Elements { reader: self, left: len, fields: &[] })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let left = self.length()?;
        visitor.visit_map(Elements { reader: self, left, fields: &[] })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.word = false;
        visitor.visit_seq(Elements { reader: self, left: fields.len(), fields })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self)
    }
}

/// The elements of a list, or the fields of a struct, which have names.
struct Elements<'e, 'r> {
    reader: &'e mut Reader<'r>,
    left: usize,
    fields: &'static [&'static str],
}

impl<'r> de::SeqAccess<'r> for Elements<'_, 'r> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'r>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        if let Some(at) = self.fields.len().checked_sub(self.left) {
            self.reader.word = is_word(self.fields[at]);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'r> de::MapAccess<'r> for Elements<'_, 'r> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'r>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'r>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'r> de::EnumAccess<'r> for &mut Reader<'r> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'r>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let index: u32 = self.number()?;
        let variant = seed.deserialize(de::value::U32Deserializer::<Wrong>::new(index))?;
        Ok((variant, self))
    }
}

impl<'r> de::VariantAccess<'r> for &mut Reader<'r> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'r>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'r>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_tuple(self, len, visitor)
    }

    fn struct_variant<V: Visitor<'r>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_struct(self, "", fields, visitor)
    }
}
