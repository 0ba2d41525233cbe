//! Tagged fields that this version of the schema does not know (KIP-482).

/// The most tagged fields that one section may hold.
pub const TAGGED_FIELDS_MAX: usize = 10_000;

/// A tagged field kept as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTaggedField {
    /// Its tag.
    pub tag: u32,
    /// Its value, undecoded.
    pub bytes: Box<[u8]>,
}

/// The tagged fields of a struct that the schema does not name, by ascending tag. They survive a
/// round trip. One word and no allocation while there are none, which is nearly always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::box_collection, reason = "one word in each of many structs, not three")]
pub struct UnknownTaggedFields(Option<Box<Vec<RawTaggedField>>>);

impl UnknownTaggedFields {
    /// None.
    pub const NONE: Self = Self(None);

    /// Adds a field and keeps the order by tag; a field with the same tag is replaced.
    pub fn insert(&mut self, tag: u32, bytes: &[u8]) {
        let fields = self.0.get_or_insert_default();
        let field = RawTaggedField { tag, bytes: bytes.into() };
        match fields.binary_search_by_key(&tag, |field| field.tag) {
            Ok(at) => {
                if let Some(slot) = fields.get_mut(at) {
                    *slot = field;
                }
            }
            Err(at) => fields.insert(at, field),
        }
    }

    /// The fields, by ascending tag.
    #[must_use]
    pub fn as_slice(&self) -> &[RawTaggedField] {
        self.0.as_ref().map_or(&[], |fields| fields.as_slice())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}
