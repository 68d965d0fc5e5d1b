//! POSIX access control lists (acl(5)): their bytes, how they follow the mode, how they are inherited. The kernel judges by
//! them; we keep them true.

use crate::types::Errno;

/// The version in the first four bytes of the attribute's value.
const VERSION: u32 = 2;

/// What an entry of an ACL speaks of, as `e_tag` of the attribute's value numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    UserObj = 0x01,
    User = 0x02,
    GroupObj = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

impl Tag {
    fn from_wire(tag: u16) -> Option<Tag> {
        [
            Tag::UserObj,
            Tag::User,
            Tag::GroupObj,
            Tag::Group,
            Tag::Mask,
            Tag::Other,
        ]
        .into_iter()
        .find(|&known| known as u16 == tag)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// `rwx` as 0..=7.
    perm: u16,
    /// The uid or gid of a named entry; what came, unread, in the others.
    id: u32,
}

/// A valid ACL: one entry each for owner, group and others; a mask where there are named entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<Entry>,
}

impl Acl {
    /// Reads the value of the attribute. Errors: EOPNOTSUPP for another version, EINVAL for what is no valid ACL.
    pub fn parse(value: &[u8]) -> Result<Acl, Errno> {
        let (version, rest) = value.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (chunks, []) = rest.as_chunks::<8>() else {
            return Err(Errno::EINVAL);
        };
        let entries = chunks.iter().map(parse_entry).collect::<Result<Vec<_>, _>>()?;
        let acl = Acl { entries };
        acl.check()?;
        Ok(acl)
    }

    /// The value of the attribute.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            bytes.extend((entry.tag as u16).to_le_bytes());
            bytes.extend(entry.perm.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// `posix_acl_valid`: the entries stand in the order of their tags, each unnamed one at most once.
    fn check(&self) -> Result<(), Errno> {
        let ordered = self
            .entries
            .windows(2)
            .all(|pair| pair[0].tag < pair[1].tag || (pair[0].tag == pair[1].tag && is_named(pair[0].tag)));
        let has = |tag| self.entries.iter().any(|entry| entry.tag == tag);
        let complete = has(Tag::UserObj) && has(Tag::GroupObj) && has(Tag::Other);
        let needs_mask = has(Tag::User) || has(Tag::Group);
        if ordered && complete && (!needs_mask || has(Tag::Mask)) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// The permission bits that say the same; `true` where they say all of it and the ACL need not be kept
    /// (`posix_acl_equiv_mode`).
    pub fn equivalent_mode(&self) -> (u32, bool) {
        let mut mode = 0;
        let mut complete = true;
        let mut mask = None;
        for entry in &self.entries {
            let perm = u32::from(entry.perm);
            match entry.tag {
                Tag::UserObj => mode |= perm << 6,
                Tag::GroupObj => mode |= perm << 3,
                Tag::Other => mode |= perm,
                Tag::Mask => mask = Some(perm),
                Tag::User | Tag::Group => {}
            }
            complete &= matches!(entry.tag, Tag::UserObj | Tag::GroupObj | Tag::Other);
        }
        if let Some(mask) = mask {
            mode = (mode & !0o070) | (mask << 3);
        }
        (mode, complete)
    }

    /// Follows a chmod: owner, others, and the mask where there is one, else the group (`posix_acl_chmod`).
    pub fn chmod(&mut self, perm: u32) {
        let bits = |shift: u32| u16::try_from((perm >> shift) & 7).unwrap_or(0);
        let group = self.group_class();
        for entry in &mut self.entries {
            match entry.tag {
                Tag::UserObj => entry.perm = bits(6),
                Tag::Other => entry.perm = bits(0),
                tag if tag == group => entry.perm = bits(3),
                _ => {}
            }
        }
    }

    /// The entry that the group bits of the mode stand for.
    fn group_class(&self) -> Tag {
        if self.entries.iter().any(|entry| entry.tag == Tag::Mask) {
            Tag::Mask
        } else {
            Tag::GroupObj
        }
    }

    /// What a default ACL gives to a new inode for which `perm` was asked: its permission bits, and its access ACL where
    /// they do not say it all (`posix_acl_create_masq`). The umask does not apply.
    pub fn inherit(&self, perm: u32) -> Result<(u32, Option<Acl>), Errno> {
        let mut access = self.clone();
        let group = access.group_class();
        for entry in &mut access.entries {
            let asked = match entry.tag {
                Tag::UserObj => perm >> 6,
                Tag::Other => perm,
                tag if tag == group => perm >> 3,
                _ => continue,
            };
            entry.perm &= u16::try_from(asked & 7).unwrap_or(0);
        }
        let (mode, complete) = access.equivalent_mode();
        Ok(((perm & !0o777) | mode, (!complete).then_some(access)))
    }
}

fn is_named(tag: Tag) -> bool {
    matches!(tag, Tag::User | Tag::Group)
}

fn parse_entry(chunk: &[u8; 8]) -> Result<Entry, Errno> {
    let [tag_low, tag_high, perm_low, perm_high, id @ ..] = *chunk;
    let tag = Tag::from_wire(u16::from_le_bytes([tag_low, tag_high])).ok_or(Errno::EINVAL)?;
    let perm = u16::from_le_bytes([perm_low, perm_high]);
    if perm > 7 {
        return Err(Errno::EINVAL);
    }
    Ok(Entry {
        tag,
        perm,
        id: u32::from_le_bytes(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acl(entries: &[(Tag, u16)]) -> Acl {
        let entries = entries.iter().map(|&(tag, perm)| Entry { tag, perm, id: 5 }).collect();
        Acl { entries }
    }

    fn extended() -> Acl {
        acl(&[
            (Tag::UserObj, 7),
            (Tag::User, 6),
            (Tag::GroupObj, 5),
            (Tag::Mask, 6),
            (Tag::Other, 4),
        ])
    }

    fn minimal() -> Acl {
        acl(&[(Tag::UserObj, 6), (Tag::GroupObj, 4), (Tag::Other, 0)])
    }

    #[test]
    fn bytes_round_trip() {
        for acl in [extended(), minimal()] {
            assert_eq!(Acl::parse(&acl.to_bytes()), Ok(acl));
        }
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        assert_eq!(Acl::parse(b""), Err(Errno::EINVAL));
        assert_eq!(Acl::parse(&[1, 0, 0, 0]), Err(Errno::EOPNOTSUPP));
        assert_eq!(Acl::parse(&[2, 0, 0, 0]), Err(Errno::EINVAL));
        let mut no_mask = extended();
        no_mask.entries.retain(|entry| entry.tag != Tag::Mask);
        assert_eq!(Acl::parse(&no_mask.to_bytes()), Err(Errno::EINVAL));
        let mut twice = minimal();
        twice.entries.insert(0, twice.entries[0]);
        assert_eq!(Acl::parse(&twice.to_bytes()), Err(Errno::EINVAL));
    }

    #[test]
    fn the_mask_is_the_group_bits() {
        assert_eq!(extended().equivalent_mode(), (0o764, false));
        assert_eq!(minimal().equivalent_mode(), (0o640, true));
    }

    #[test]
    fn chmod_moves_the_mask_and_not_the_group() {
        let mut acl = extended();
        acl.chmod(0o751);
        assert_eq!(
            acl.entries.iter().map(|entry| entry.perm).collect::<Vec<_>>(),
            [7, 6, 5, 5, 1]
        );
        let mut acl = minimal();
        acl.chmod(0o751);
        assert_eq!(
            acl.entries.iter().map(|entry| entry.perm).collect::<Vec<_>>(),
            [7, 5, 1]
        );
    }

    #[test]
    fn inheritance_meets_the_mode_asked_for() {
        let (perm, access) = extended().inherit(0o2640).unwrap();
        assert_eq!(perm, 0o2640);
        assert_eq!(access.unwrap().equivalent_mode(), (0o640, false));
        assert_eq!(minimal().inherit(0o777).unwrap(), (0o640, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(acl) = Acl::parse(&value) {
                prop_assert_eq!(acl.to_bytes(), value);
            }
        }
    }
}
