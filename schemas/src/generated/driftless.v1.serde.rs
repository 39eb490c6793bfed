impl serde::Serialize for Absent {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.Absent", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Absent {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Absent;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Absent")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Absent, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(Absent {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Absent", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Audit {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        if !self.reporter.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Audit", len)?;
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        if !self.reporter.is_empty() {
            struct_ser.serialize_field("reporter", &self.reporter)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Audit {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "version",
            "hash",
            "reporter",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Version,
            Hash,
            Reporter,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            "reporter" => Ok(GeneratedField::Reporter),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Audit;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Audit")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Audit, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut version__ = None;
                let mut hash__ = None;
                let mut reporter__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Reporter => {
                            if reporter__.is_some() {
                                return Err(serde::de::Error::duplicate_field("reporter"));
                            }
                            reporter__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Audit {
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                    reporter: reporter__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Audit", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Beacon {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Beacon", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Beacon {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "version",
            "hash",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Version,
            Hash,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Beacon;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Beacon")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Beacon, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut version__ = None;
                let mut hash__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Beacon {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Beacon", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Beacons {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.beacons.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Beacons", len)?;
        if !self.beacons.is_empty() {
            struct_ser.serialize_field("beacons", &self.beacons)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Beacons {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "beacons",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Beacons,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "beacons" => Ok(GeneratedField::Beacons),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Beacons;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Beacons")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Beacons, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut beacons__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Beacons => {
                            if beacons__.is_some() {
                                return Err(serde::de::Error::duplicate_field("beacons"));
                            }
                            beacons__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Beacons {
                    beacons: beacons__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Beacons", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Checkpoint {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.epoch != 0 {
            len += 1;
        }
        if self.commands_next != 0 {
            len += 1;
        }
        if self.updates_low != 0 {
            len += 1;
        }
        if self.updates_low_epoch != 0 {
            len += 1;
        }
        if self.updates_low_n != 0 {
            len += 1;
        }
        if !self.history.is_empty() {
            len += 1;
        }
        if !self.world_id.is_empty() {
            len += 1;
        }
        if !self.commands_print.is_empty() {
            len += 1;
        }
        if self.updates_end != 0 {
            len += 1;
        }
        if !self.updates_print.is_empty() {
            len += 1;
        }
        if self.commands_anew {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Checkpoint", len)?;
        if self.epoch != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("epoch", ToString::to_string(&self.epoch).as_str())?;
        }
        if self.commands_next != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("commandsNext", ToString::to_string(&self.commands_next).as_str())?;
        }
        if self.updates_low != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updatesLow", ToString::to_string(&self.updates_low).as_str())?;
        }
        if self.updates_low_epoch != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updatesLowEpoch", ToString::to_string(&self.updates_low_epoch).as_str())?;
        }
        if self.updates_low_n != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updatesLowN", ToString::to_string(&self.updates_low_n).as_str())?;
        }
        if !self.history.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("history", pbjson::private::base64::encode(&self.history).as_str())?;
        }
        if !self.world_id.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("worldId", pbjson::private::base64::encode(&self.world_id).as_str())?;
        }
        if !self.commands_print.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("commandsPrint", pbjson::private::base64::encode(&self.commands_print).as_str())?;
        }
        if self.updates_end != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updatesEnd", ToString::to_string(&self.updates_end).as_str())?;
        }
        if !self.updates_print.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updatesPrint", pbjson::private::base64::encode(&self.updates_print).as_str())?;
        }
        if self.commands_anew {
            struct_ser.serialize_field("commandsAnew", &self.commands_anew)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Checkpoint {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "epoch",
            "commands_next",
            "commandsNext",
            "updates_low",
            "updatesLow",
            "updates_low_epoch",
            "updatesLowEpoch",
            "updates_low_n",
            "updatesLowN",
            "history",
            "world_id",
            "worldId",
            "commands_print",
            "commandsPrint",
            "updates_end",
            "updatesEnd",
            "updates_print",
            "updatesPrint",
            "commands_anew",
            "commandsAnew",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Epoch,
            CommandsNext,
            UpdatesLow,
            UpdatesLowEpoch,
            UpdatesLowN,
            History,
            WorldId,
            CommandsPrint,
            UpdatesEnd,
            UpdatesPrint,
            CommandsAnew,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "epoch" => Ok(GeneratedField::Epoch),
                            "commandsNext" | "commands_next" => Ok(GeneratedField::CommandsNext),
                            "updatesLow" | "updates_low" => Ok(GeneratedField::UpdatesLow),
                            "updatesLowEpoch" | "updates_low_epoch" => Ok(GeneratedField::UpdatesLowEpoch),
                            "updatesLowN" | "updates_low_n" => Ok(GeneratedField::UpdatesLowN),
                            "history" => Ok(GeneratedField::History),
                            "worldId" | "world_id" => Ok(GeneratedField::WorldId),
                            "commandsPrint" | "commands_print" => Ok(GeneratedField::CommandsPrint),
                            "updatesEnd" | "updates_end" => Ok(GeneratedField::UpdatesEnd),
                            "updatesPrint" | "updates_print" => Ok(GeneratedField::UpdatesPrint),
                            "commandsAnew" | "commands_anew" => Ok(GeneratedField::CommandsAnew),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Checkpoint;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Checkpoint")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Checkpoint, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut epoch__ = None;
                let mut commands_next__ = None;
                let mut updates_low__ = None;
                let mut updates_low_epoch__ = None;
                let mut updates_low_n__ = None;
                let mut history__ = None;
                let mut world_id__ = None;
                let mut commands_print__ = None;
                let mut updates_end__ = None;
                let mut updates_print__ = None;
                let mut commands_anew__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Epoch => {
                            if epoch__.is_some() {
                                return Err(serde::de::Error::duplicate_field("epoch"));
                            }
                            epoch__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsNext => {
                            if commands_next__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsNext"));
                            }
                            commands_next__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::UpdatesLow => {
                            if updates_low__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updatesLow"));
                            }
                            updates_low__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::UpdatesLowEpoch => {
                            if updates_low_epoch__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updatesLowEpoch"));
                            }
                            updates_low_epoch__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::UpdatesLowN => {
                            if updates_low_n__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updatesLowN"));
                            }
                            updates_low_n__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::History => {
                            if history__.is_some() {
                                return Err(serde::de::Error::duplicate_field("history"));
                            }
                            history__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::WorldId => {
                            if world_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("worldId"));
                            }
                            world_id__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsPrint => {
                            if commands_print__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsPrint"));
                            }
                            commands_print__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::UpdatesEnd => {
                            if updates_end__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updatesEnd"));
                            }
                            updates_end__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::UpdatesPrint => {
                            if updates_print__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updatesPrint"));
                            }
                            updates_print__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsAnew => {
                            if commands_anew__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsAnew"));
                            }
                            commands_anew__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Checkpoint {
                    epoch: epoch__.unwrap_or_default(),
                    commands_next: commands_next__.unwrap_or_default(),
                    updates_low: updates_low__.unwrap_or_default(),
                    updates_low_epoch: updates_low_epoch__.unwrap_or_default(),
                    updates_low_n: updates_low_n__.unwrap_or_default(),
                    history: history__.unwrap_or_default(),
                    world_id: world_id__.unwrap_or_default(),
                    commands_print: commands_print__.unwrap_or_default(),
                    updates_end: updates_end__.unwrap_or_default(),
                    updates_print: updates_print__.unwrap_or_default(),
                    commands_anew: commands_anew__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Checkpoint", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Chunk {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        if !self.model.is_empty() {
            len += 1;
        }
        if self.revision != 0 {
            len += 1;
        }
        if !self.data.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Chunk", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        if !self.model.is_empty() {
            struct_ser.serialize_field("model", &self.model)?;
        }
        if self.revision != 0 {
            struct_ser.serialize_field("revision", &self.revision)?;
        }
        if !self.data.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("data", pbjson::private::base64::encode(&self.data).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Chunk {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "version",
            "hash",
            "model",
            "revision",
            "data",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Version,
            Hash,
            Model,
            Revision,
            Data,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            "model" => Ok(GeneratedField::Model),
                            "revision" => Ok(GeneratedField::Revision),
                            "data" => Ok(GeneratedField::Data),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Chunk;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Chunk")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Chunk, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut version__ = None;
                let mut hash__ = None;
                let mut model__ = None;
                let mut revision__ = None;
                let mut data__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Model => {
                            if model__.is_some() {
                                return Err(serde::de::Error::duplicate_field("model"));
                            }
                            model__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Revision => {
                            if revision__.is_some() {
                                return Err(serde::de::Error::duplicate_field("revision"));
                            }
                            revision__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Data => {
                            if data__.is_some() {
                                return Err(serde::de::Error::duplicate_field("data"));
                            }
                            data__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Chunk {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                    model: model__.unwrap_or_default(),
                    revision: revision__.unwrap_or_default(),
                    data: data__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Chunk", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ClientFrame {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.requests.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.ClientFrame", len)?;
        if !self.requests.is_empty() {
            struct_ser.serialize_field("requests", &self.requests)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ClientFrame {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "requests",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Requests,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "requests" => Ok(GeneratedField::Requests),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ClientFrame;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.ClientFrame")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ClientFrame, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut requests__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Requests => {
                            if requests__.is_some() {
                                return Err(serde::de::Error::duplicate_field("requests"));
                            }
                            requests__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(ClientFrame {
                    requests: requests__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.ClientFrame", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Command {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.writer.is_empty() {
            len += 1;
        }
        if !self.author.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if self.after != 0 {
            len += 1;
        }
        if self.received_at_ms != 0 {
            len += 1;
        }
        if !self.roles.is_empty() {
            len += 1;
        }
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Command", len)?;
        if !self.writer.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("writer", pbjson::private::base64::encode(&self.writer).as_str())?;
        }
        if !self.author.is_empty() {
            struct_ser.serialize_field("author", &self.author)?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if self.after != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("after", ToString::to_string(&self.after).as_str())?;
        }
        if self.received_at_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("receivedAtMs", ToString::to_string(&self.received_at_ms).as_str())?;
        }
        if !self.roles.is_empty() {
            struct_ser.serialize_field("roles", &self.roles)?;
        }
        if let Some(v) = self.body.as_ref() {
            match v {
                command::Body::Command(v) => {
                    #[allow(clippy::needless_borrow)]
                    #[allow(clippy::needless_borrows_for_generic_args)]
                    struct_ser.serialize_field("command", pbjson::private::base64::encode(&v).as_str())?;
                }
                command::Body::Settle(v) => {
                    struct_ser.serialize_field("settle", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Command {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "writer",
            "author",
            "seq",
            "after",
            "received_at_ms",
            "receivedAtMs",
            "roles",
            "command",
            "settle",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Writer,
            Author,
            Seq,
            After,
            ReceivedAtMs,
            Roles,
            Command,
            Settle,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "writer" => Ok(GeneratedField::Writer),
                            "author" => Ok(GeneratedField::Author),
                            "seq" => Ok(GeneratedField::Seq),
                            "after" => Ok(GeneratedField::After),
                            "receivedAtMs" | "received_at_ms" => Ok(GeneratedField::ReceivedAtMs),
                            "roles" => Ok(GeneratedField::Roles),
                            "command" => Ok(GeneratedField::Command),
                            "settle" => Ok(GeneratedField::Settle),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Command;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Command")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Command, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut writer__ = None;
                let mut author__ = None;
                let mut seq__ = None;
                let mut after__ = None;
                let mut received_at_ms__ = None;
                let mut roles__ = None;
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Writer => {
                            if writer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("writer"));
                            }
                            writer__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Author => {
                            if author__.is_some() {
                                return Err(serde::de::Error::duplicate_field("author"));
                            }
                            author__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::After => {
                            if after__.is_some() {
                                return Err(serde::de::Error::duplicate_field("after"));
                            }
                            after__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ReceivedAtMs => {
                            if received_at_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("receivedAtMs"));
                            }
                            received_at_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Roles => {
                            if roles__.is_some() {
                                return Err(serde::de::Error::duplicate_field("roles"));
                            }
                            roles__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Command => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("command"));
                            }
                            body__ = map_.next_value::<::std::option::Option<::pbjson::private::BytesDeserialize<_>>>()?.map(|x| command::Body::Command(x.0));
                        }
                        GeneratedField::Settle => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("settle"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(command::Body::Settle)
;
                        }
                    }
                }
                Ok(Command {
                    writer: writer__.unwrap_or_default(),
                    author: author__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    after: after__.unwrap_or_default(),
                    received_at_ms: received_at_ms__.unwrap_or_default(),
                    roles: roles__.unwrap_or_default(),
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Command", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for CommandRecord {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.CommandRecord", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if let Some(v) = self.body.as_ref() {
            match v {
                command_record::Body::Command(v) => {
                    struct_ser.serialize_field("command", v)?;
                }
                command_record::Body::Audit(v) => {
                    struct_ser.serialize_field("audit", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for CommandRecord {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "command",
            "audit",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Command,
            Audit,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "command" => Ok(GeneratedField::Command),
                            "audit" => Ok(GeneratedField::Audit),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = CommandRecord;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.CommandRecord")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<CommandRecord, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Command => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("command"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(command_record::Body::Command)
;
                        }
                        GeneratedField::Audit => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("audit"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(command_record::Body::Audit)
;
                        }
                    }
                }
                Ok(CommandRecord {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.CommandRecord", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Committed {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.Committed", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Committed {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Committed;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Committed")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Committed, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(Committed {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Committed", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Decisions {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if !self.updates.is_empty() {
            len += 1;
        }
        if !self.marks.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Decisions", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if !self.updates.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("updates", pbjson::private::base64::encode(&self.updates).as_str())?;
        }
        if !self.marks.is_empty() {
            struct_ser.serialize_field("marks", &self.marks)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Decisions {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "updates",
            "marks",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Updates,
            Marks,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "updates" => Ok(GeneratedField::Updates),
                            "marks" => Ok(GeneratedField::Marks),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Decisions;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Decisions")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Decisions, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut updates__ = None;
                let mut marks__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Updates => {
                            if updates__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updates"));
                            }
                            updates__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Marks => {
                            if marks__.is_some() {
                                return Err(serde::de::Error::duplicate_field("marks"));
                            }
                            marks__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Decisions {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    updates: updates__.unwrap_or_default(),
                    marks: marks__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Decisions", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for DeleteKey {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.key.is_empty() {
            len += 1;
        }
        if self.guard.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.DeleteKey", len)?;
        if !self.key.is_empty() {
            struct_ser.serialize_field("key", &self.key)?;
        }
        if let Some(v) = self.guard.as_ref() {
            struct_ser.serialize_field("guard", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for DeleteKey {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "key",
            "guard",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Key,
            Guard,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "key" => Ok(GeneratedField::Key),
                            "guard" => Ok(GeneratedField::Guard),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = DeleteKey;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.DeleteKey")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<DeleteKey, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut key__ = None;
                let mut guard__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Key => {
                            if key__.is_some() {
                                return Err(serde::de::Error::duplicate_field("key"));
                            }
                            key__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Guard => {
                            if guard__.is_some() {
                                return Err(serde::de::Error::duplicate_field("guard"));
                            }
                            guard__ = map_.next_value()?;
                        }
                    }
                }
                Ok(DeleteKey {
                    key: key__.unwrap_or_default(),
                    guard: guard__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.DeleteKey", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for DiscardReason {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        let variant = match self {
            Self::Unspecified => "DISCARD_REASON_UNSPECIFIED",
            Self::Conflict => "DISCARD_REASON_CONFLICT",
            Self::Full => "DISCARD_REASON_FULL",
            Self::Invalid => "DISCARD_REASON_INVALID",
            Self::Undecodable => "DISCARD_REASON_UNDECODABLE",
            Self::ModelFault => "DISCARD_REASON_MODEL_FAULT",
            Self::Settled => "DISCARD_REASON_SETTLED",
        };
        serializer.serialize_str(variant)
    }
}
impl<'de> serde::Deserialize<'de> for DiscardReason {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "DISCARD_REASON_UNSPECIFIED",
            "DISCARD_REASON_CONFLICT",
            "DISCARD_REASON_FULL",
            "DISCARD_REASON_INVALID",
            "DISCARD_REASON_UNDECODABLE",
            "DISCARD_REASON_MODEL_FAULT",
            "DISCARD_REASON_SETTLED",
        ];

        struct GeneratedVisitor;

        impl serde::de::Visitor<'_> for GeneratedVisitor {
            type Value = DiscardReason;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "expected one of: {:?}", &FIELDS)
            }

            fn visit_i64<E>(self, v: i64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(v), &self)
                    })
            }

            fn visit_u64<E>(self, v: u64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(v), &self)
                    })
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                match value {
                    "DISCARD_REASON_UNSPECIFIED" => Ok(DiscardReason::Unspecified),
                    "DISCARD_REASON_CONFLICT" => Ok(DiscardReason::Conflict),
                    "DISCARD_REASON_FULL" => Ok(DiscardReason::Full),
                    "DISCARD_REASON_INVALID" => Ok(DiscardReason::Invalid),
                    "DISCARD_REASON_UNDECODABLE" => Ok(DiscardReason::Undecodable),
                    "DISCARD_REASON_MODEL_FAULT" => Ok(DiscardReason::ModelFault),
                    "DISCARD_REASON_SETTLED" => Ok(DiscardReason::Settled),
                    _ => Err(serde::de::Error::unknown_variant(value, FIELDS)),
                }
            }
        }
        deserializer.deserialize_any(GeneratedVisitor)
    }
}
impl serde::Serialize for Discarded {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.reason != 0 {
            len += 1;
        }
        if !self.detail.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Discarded", len)?;
        if self.reason != 0 {
            let v = DiscardReason::try_from(self.reason)
                .map_err(|_| serde::ser::Error::custom(format!("Invalid variant {}", self.reason)))?;
            struct_ser.serialize_field("reason", &v)?;
        }
        if !self.detail.is_empty() {
            struct_ser.serialize_field("detail", &self.detail)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Discarded {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "reason",
            "detail",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Reason,
            Detail,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "reason" => Ok(GeneratedField::Reason),
                            "detail" => Ok(GeneratedField::Detail),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Discarded;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Discarded")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Discarded, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut reason__ = None;
                let mut detail__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Reason => {
                            if reason__.is_some() {
                                return Err(serde::de::Error::duplicate_field("reason"));
                            }
                            reason__ = Some(map_.next_value::<DiscardReason>()? as i32);
                        }
                        GeneratedField::Detail => {
                            if detail__.is_some() {
                                return Err(serde::de::Error::duplicate_field("detail"));
                            }
                            detail__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Discarded {
                    reason: reason__.unwrap_or_default(),
                    detail: detail__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Discarded", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for DriftReport {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.version != 0 {
            len += 1;
        }
        if !self.expected_hash.is_empty() {
            len += 1;
        }
        if !self.found_hash.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.DriftReport", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.expected_hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("expectedHash", pbjson::private::base64::encode(&self.expected_hash).as_str())?;
        }
        if !self.found_hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("foundHash", pbjson::private::base64::encode(&self.found_hash).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for DriftReport {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "version",
            "expected_hash",
            "expectedHash",
            "found_hash",
            "foundHash",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Version,
            ExpectedHash,
            FoundHash,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "version" => Ok(GeneratedField::Version),
                            "expectedHash" | "expected_hash" => Ok(GeneratedField::ExpectedHash),
                            "foundHash" | "found_hash" => Ok(GeneratedField::FoundHash),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = DriftReport;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.DriftReport")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<DriftReport, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut version__ = None;
                let mut expected_hash__ = None;
                let mut found_hash__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ExpectedHash => {
                            if expected_hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("expectedHash"));
                            }
                            expected_hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::FoundHash => {
                            if found_hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("foundHash"));
                            }
                            found_hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(DriftReport {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                    expected_hash: expected_hash__.unwrap_or_default(),
                    found_hash: found_hash__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.DriftReport", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Entry {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.writer.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if !self.effect.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Entry", len)?;
        if !self.writer.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("writer", pbjson::private::base64::encode(&self.writer).as_str())?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if !self.effect.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("effect", pbjson::private::base64::encode(&self.effect).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Entry {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "writer",
            "seq",
            "effect",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Writer,
            Seq,
            Effect,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "writer" => Ok(GeneratedField::Writer),
                            "seq" => Ok(GeneratedField::Seq),
                            "effect" => Ok(GeneratedField::Effect),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Entry;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Entry")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Entry, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut writer__ = None;
                let mut seq__ = None;
                let mut effect__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Writer => {
                            if writer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("writer"));
                            }
                            writer__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Effect => {
                            if effect__.is_some() {
                                return Err(serde::de::Error::duplicate_field("effect"));
                            }
                            effect__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Entry {
                    writer: writer__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    effect: effect__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Entry", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Event {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Event", len)?;
        if let Some(v) = self.body.as_ref() {
            match v {
                event::Body::Welcome(v) => {
                    struct_ser.serialize_field("welcome", v)?;
                }
                event::Body::Pong(v) => {
                    struct_ser.serialize_field("pong", v)?;
                }
                event::Body::Ping(v) => {
                    struct_ser.serialize_field("ping", v)?;
                }
                event::Body::Refused(v) => {
                    struct_ser.serialize_field("refused", v)?;
                }
                event::Body::Renewed(v) => {
                    struct_ser.serialize_field("renewed", v)?;
                }
                event::Body::Receipt(v) => {
                    struct_ser.serialize_field("receipt", v)?;
                }
                event::Body::Rejected(v) => {
                    struct_ser.serialize_field("rejected", v)?;
                }
                event::Body::Tracked(v) => {
                    struct_ser.serialize_field("tracked", v)?;
                }
                event::Body::TrackRejected(v) => {
                    struct_ser.serialize_field("trackRejected", v)?;
                }
                event::Body::Chunk(v) => {
                    struct_ser.serialize_field("chunk", v)?;
                }
                event::Body::Updates(v) => {
                    #[allow(clippy::needless_borrow)]
                    #[allow(clippy::needless_borrows_for_generic_args)]
                    struct_ser.serialize_field("updates", pbjson::private::base64::encode(&v).as_str())?;
                }
                event::Body::Outcomes(v) => {
                    struct_ser.serialize_field("outcomes", v)?;
                }
                event::Body::Beacons(v) => {
                    struct_ser.serialize_field("beacons", v)?;
                }
                event::Body::Lagging(v) => {
                    struct_ser.serialize_field("lagging", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Event {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "welcome",
            "pong",
            "ping",
            "refused",
            "renewed",
            "receipt",
            "rejected",
            "tracked",
            "track_rejected",
            "trackRejected",
            "chunk",
            "updates",
            "outcomes",
            "beacons",
            "lagging",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Welcome,
            Pong,
            Ping,
            Refused,
            Renewed,
            Receipt,
            Rejected,
            Tracked,
            TrackRejected,
            Chunk,
            Updates,
            Outcomes,
            Beacons,
            Lagging,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "welcome" => Ok(GeneratedField::Welcome),
                            "pong" => Ok(GeneratedField::Pong),
                            "ping" => Ok(GeneratedField::Ping),
                            "refused" => Ok(GeneratedField::Refused),
                            "renewed" => Ok(GeneratedField::Renewed),
                            "receipt" => Ok(GeneratedField::Receipt),
                            "rejected" => Ok(GeneratedField::Rejected),
                            "tracked" => Ok(GeneratedField::Tracked),
                            "trackRejected" | "track_rejected" => Ok(GeneratedField::TrackRejected),
                            "chunk" => Ok(GeneratedField::Chunk),
                            "updates" => Ok(GeneratedField::Updates),
                            "outcomes" => Ok(GeneratedField::Outcomes),
                            "beacons" => Ok(GeneratedField::Beacons),
                            "lagging" => Ok(GeneratedField::Lagging),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Event;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Event")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Event, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Welcome => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("welcome"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Welcome)
;
                        }
                        GeneratedField::Pong => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("pong"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Pong)
;
                        }
                        GeneratedField::Ping => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ping"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Ping)
;
                        }
                        GeneratedField::Refused => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("refused"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Refused)
;
                        }
                        GeneratedField::Renewed => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("renewed"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Renewed)
;
                        }
                        GeneratedField::Receipt => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("receipt"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Receipt)
;
                        }
                        GeneratedField::Rejected => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("rejected"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Rejected)
;
                        }
                        GeneratedField::Tracked => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("tracked"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Tracked)
;
                        }
                        GeneratedField::TrackRejected => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("trackRejected"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::TrackRejected)
;
                        }
                        GeneratedField::Chunk => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunk"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Chunk)
;
                        }
                        GeneratedField::Updates => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("updates"));
                            }
                            body__ = map_.next_value::<::std::option::Option<::pbjson::private::BytesDeserialize<_>>>()?.map(|x| event::Body::Updates(x.0));
                        }
                        GeneratedField::Outcomes => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("outcomes"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Outcomes)
;
                        }
                        GeneratedField::Beacons => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("beacons"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Beacons)
;
                        }
                        GeneratedField::Lagging => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("lagging"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(event::Body::Lagging)
;
                        }
                    }
                }
                Ok(Event {
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Event", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Family {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.name.is_empty() {
            len += 1;
        }
        if !self.model.is_empty() {
            len += 1;
        }
        if self.model_revision != 0 {
            len += 1;
        }
        if !self.parameters.is_empty() {
            len += 1;
        }
        if self.coordinates != 0 {
            len += 1;
        }
        if self.coordinate_min != 0 {
            len += 1;
        }
        if self.coordinate_max != 0 {
            len += 1;
        }
        if self.region != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Family", len)?;
        if !self.name.is_empty() {
            struct_ser.serialize_field("name", &self.name)?;
        }
        if !self.model.is_empty() {
            struct_ser.serialize_field("model", &self.model)?;
        }
        if self.model_revision != 0 {
            struct_ser.serialize_field("modelRevision", &self.model_revision)?;
        }
        if !self.parameters.is_empty() {
            struct_ser.serialize_field("parameters", &self.parameters)?;
        }
        if self.coordinates != 0 {
            struct_ser.serialize_field("coordinates", &self.coordinates)?;
        }
        if self.coordinate_min != 0 {
            struct_ser.serialize_field("coordinateMin", &self.coordinate_min)?;
        }
        if self.coordinate_max != 0 {
            struct_ser.serialize_field("coordinateMax", &self.coordinate_max)?;
        }
        if self.region != 0 {
            struct_ser.serialize_field("region", &self.region)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Family {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "name",
            "model",
            "model_revision",
            "modelRevision",
            "parameters",
            "coordinates",
            "coordinate_min",
            "coordinateMin",
            "coordinate_max",
            "coordinateMax",
            "region",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Name,
            Model,
            ModelRevision,
            Parameters,
            Coordinates,
            CoordinateMin,
            CoordinateMax,
            Region,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "name" => Ok(GeneratedField::Name),
                            "model" => Ok(GeneratedField::Model),
                            "modelRevision" | "model_revision" => Ok(GeneratedField::ModelRevision),
                            "parameters" => Ok(GeneratedField::Parameters),
                            "coordinates" => Ok(GeneratedField::Coordinates),
                            "coordinateMin" | "coordinate_min" => Ok(GeneratedField::CoordinateMin),
                            "coordinateMax" | "coordinate_max" => Ok(GeneratedField::CoordinateMax),
                            "region" => Ok(GeneratedField::Region),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Family;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Family")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Family, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut name__ = None;
                let mut model__ = None;
                let mut model_revision__ = None;
                let mut parameters__ = None;
                let mut coordinates__ = None;
                let mut coordinate_min__ = None;
                let mut coordinate_max__ = None;
                let mut region__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Name => {
                            if name__.is_some() {
                                return Err(serde::de::Error::duplicate_field("name"));
                            }
                            name__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Model => {
                            if model__.is_some() {
                                return Err(serde::de::Error::duplicate_field("model"));
                            }
                            model__ = Some(map_.next_value()?);
                        }
                        GeneratedField::ModelRevision => {
                            if model_revision__.is_some() {
                                return Err(serde::de::Error::duplicate_field("modelRevision"));
                            }
                            model_revision__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Parameters => {
                            if parameters__.is_some() {
                                return Err(serde::de::Error::duplicate_field("parameters"));
                            }
                            parameters__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Coordinates => {
                            if coordinates__.is_some() {
                                return Err(serde::de::Error::duplicate_field("coordinates"));
                            }
                            coordinates__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CoordinateMin => {
                            if coordinate_min__.is_some() {
                                return Err(serde::de::Error::duplicate_field("coordinateMin"));
                            }
                            coordinate_min__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CoordinateMax => {
                            if coordinate_max__.is_some() {
                                return Err(serde::de::Error::duplicate_field("coordinateMax"));
                            }
                            coordinate_max__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Region => {
                            if region__.is_some() {
                                return Err(serde::de::Error::duplicate_field("region"));
                            }
                            region__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Family {
                    name: name__.unwrap_or_default(),
                    model: model__.unwrap_or_default(),
                    model_revision: model_revision__.unwrap_or_default(),
                    parameters: parameters__.unwrap_or_default(),
                    coordinates: coordinates__.unwrap_or_default(),
                    coordinate_min: coordinate_min__.unwrap_or_default(),
                    coordinate_max: coordinate_max__.unwrap_or_default(),
                    region: region__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Family", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Fence {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.owner.is_empty() {
            len += 1;
        }
        if !self.world_id.is_empty() {
            len += 1;
        }
        if !self.history.is_empty() {
            len += 1;
        }
        if self.commands_anew {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Fence", len)?;
        if !self.owner.is_empty() {
            struct_ser.serialize_field("owner", &self.owner)?;
        }
        if !self.world_id.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("worldId", pbjson::private::base64::encode(&self.world_id).as_str())?;
        }
        if !self.history.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("history", pbjson::private::base64::encode(&self.history).as_str())?;
        }
        if self.commands_anew {
            struct_ser.serialize_field("commandsAnew", &self.commands_anew)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Fence {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "owner",
            "world_id",
            "worldId",
            "history",
            "commands_anew",
            "commandsAnew",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Owner,
            WorldId,
            History,
            CommandsAnew,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "owner" => Ok(GeneratedField::Owner),
                            "worldId" | "world_id" => Ok(GeneratedField::WorldId),
                            "history" => Ok(GeneratedField::History),
                            "commandsAnew" | "commands_anew" => Ok(GeneratedField::CommandsAnew),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Fence;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Fence")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Fence, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut owner__ = None;
                let mut world_id__ = None;
                let mut history__ = None;
                let mut commands_anew__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Owner => {
                            if owner__.is_some() {
                                return Err(serde::de::Error::duplicate_field("owner"));
                            }
                            owner__ = Some(map_.next_value()?);
                        }
                        GeneratedField::WorldId => {
                            if world_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("worldId"));
                            }
                            world_id__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::History => {
                            if history__.is_some() {
                                return Err(serde::de::Error::duplicate_field("history"));
                            }
                            history__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsAnew => {
                            if commands_anew__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsAnew"));
                            }
                            commands_anew__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Fence {
                    owner: owner__.unwrap_or_default(),
                    world_id: world_id__.unwrap_or_default(),
                    history: history__.unwrap_or_default(),
                    commands_anew: commands_anew__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Fence", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for FillBox {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.x != 0 {
            len += 1;
        }
        if self.y != 0 {
            len += 1;
        }
        if self.z != 0 {
            len += 1;
        }
        if self.width != 0 {
            len += 1;
        }
        if self.height != 0 {
            len += 1;
        }
        if self.depth != 0 {
            len += 1;
        }
        if self.value != 0 {
            len += 1;
        }
        if self.guard != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.FillBox", len)?;
        if self.x != 0 {
            struct_ser.serialize_field("x", &self.x)?;
        }
        if self.y != 0 {
            struct_ser.serialize_field("y", &self.y)?;
        }
        if self.z != 0 {
            struct_ser.serialize_field("z", &self.z)?;
        }
        if self.width != 0 {
            struct_ser.serialize_field("width", &self.width)?;
        }
        if self.height != 0 {
            struct_ser.serialize_field("height", &self.height)?;
        }
        if self.depth != 0 {
            struct_ser.serialize_field("depth", &self.depth)?;
        }
        if self.value != 0 {
            struct_ser.serialize_field("value", &self.value)?;
        }
        if self.guard != 0 {
            struct_ser.serialize_field("guard", &self.guard)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for FillBox {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "x",
            "y",
            "z",
            "width",
            "height",
            "depth",
            "value",
            "guard",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            X,
            Y,
            Z,
            Width,
            Height,
            Depth,
            Value,
            Guard,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "x" => Ok(GeneratedField::X),
                            "y" => Ok(GeneratedField::Y),
                            "z" => Ok(GeneratedField::Z),
                            "width" => Ok(GeneratedField::Width),
                            "height" => Ok(GeneratedField::Height),
                            "depth" => Ok(GeneratedField::Depth),
                            "value" => Ok(GeneratedField::Value),
                            "guard" => Ok(GeneratedField::Guard),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = FillBox;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.FillBox")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<FillBox, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut x__ = None;
                let mut y__ = None;
                let mut z__ = None;
                let mut width__ = None;
                let mut height__ = None;
                let mut depth__ = None;
                let mut value__ = None;
                let mut guard__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::X => {
                            if x__.is_some() {
                                return Err(serde::de::Error::duplicate_field("x"));
                            }
                            x__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Y => {
                            if y__.is_some() {
                                return Err(serde::de::Error::duplicate_field("y"));
                            }
                            y__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Z => {
                            if z__.is_some() {
                                return Err(serde::de::Error::duplicate_field("z"));
                            }
                            z__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Width => {
                            if width__.is_some() {
                                return Err(serde::de::Error::duplicate_field("width"));
                            }
                            width__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Height => {
                            if height__.is_some() {
                                return Err(serde::de::Error::duplicate_field("height"));
                            }
                            height__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Depth => {
                            if depth__.is_some() {
                                return Err(serde::de::Error::duplicate_field("depth"));
                            }
                            depth__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Value => {
                            if value__.is_some() {
                                return Err(serde::de::Error::duplicate_field("value"));
                            }
                            value__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Guard => {
                            if guard__.is_some() {
                                return Err(serde::de::Error::duplicate_field("guard"));
                            }
                            guard__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(FillBox {
                    x: x__.unwrap_or_default(),
                    y: y__.unwrap_or_default(),
                    z: z__.unwrap_or_default(),
                    width: width__.unwrap_or_default(),
                    height: height__.unwrap_or_default(),
                    depth: depth__.unwrap_or_default(),
                    value: value__.unwrap_or_default(),
                    guard: guard__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.FillBox", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for GridCommand {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.GridCommand", len)?;
        if let Some(v) = self.body.as_ref() {
            match v {
                grid_command::Body::Set(v) => {
                    struct_ser.serialize_field("set", v)?;
                }
                grid_command::Body::Fill(v) => {
                    struct_ser.serialize_field("fill", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for GridCommand {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "set",
            "fill",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Set,
            Fill,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "set" => Ok(GeneratedField::Set),
                            "fill" => Ok(GeneratedField::Fill),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = GridCommand;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.GridCommand")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<GridCommand, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Set => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("set"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(grid_command::Body::Set)
;
                        }
                        GeneratedField::Fill => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("fill"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(grid_command::Body::Fill)
;
                        }
                    }
                }
                Ok(GridCommand {
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.GridCommand", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Have {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        if !self.history.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Have", len)?;
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        if !self.history.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("history", pbjson::private::base64::encode(&self.history).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Have {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "version",
            "hash",
            "history",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Version,
            Hash,
            History,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            "history" => Ok(GeneratedField::History),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Have;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Have")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Have, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut version__ = None;
                let mut hash__ = None;
                let mut history__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::History => {
                            if history__.is_some() {
                                return Err(serde::de::Error::duplicate_field("history"));
                            }
                            history__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Have {
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                    history: history__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Have", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Hello {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.token.is_empty() {
            len += 1;
        }
        if !self.session.is_empty() {
            len += 1;
        }
        if !self.models.is_empty() {
            len += 1;
        }
        if self.session_after_ms != 0 {
            len += 1;
        }
        if self.features != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Hello", len)?;
        if !self.token.is_empty() {
            struct_ser.serialize_field("token", &self.token)?;
        }
        if !self.session.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("session", pbjson::private::base64::encode(&self.session).as_str())?;
        }
        if !self.models.is_empty() {
            struct_ser.serialize_field("models", &self.models)?;
        }
        if self.session_after_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("sessionAfterMs", ToString::to_string(&self.session_after_ms).as_str())?;
        }
        if self.features != 0 {
            struct_ser.serialize_field("features", &self.features)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Hello {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "token",
            "session",
            "models",
            "session_after_ms",
            "sessionAfterMs",
            "features",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Token,
            Session,
            Models,
            SessionAfterMs,
            Features,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "token" => Ok(GeneratedField::Token),
                            "session" => Ok(GeneratedField::Session),
                            "models" => Ok(GeneratedField::Models),
                            "sessionAfterMs" | "session_after_ms" => Ok(GeneratedField::SessionAfterMs),
                            "features" => Ok(GeneratedField::Features),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Hello;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Hello")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Hello, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut token__ = None;
                let mut session__ = None;
                let mut models__ = None;
                let mut session_after_ms__ = None;
                let mut features__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Token => {
                            if token__.is_some() {
                                return Err(serde::de::Error::duplicate_field("token"));
                            }
                            token__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Session => {
                            if session__.is_some() {
                                return Err(serde::de::Error::duplicate_field("session"));
                            }
                            session__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Models => {
                            if models__.is_some() {
                                return Err(serde::de::Error::duplicate_field("models"));
                            }
                            models__ = Some(map_.next_value()?);
                        }
                        GeneratedField::SessionAfterMs => {
                            if session_after_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sessionAfterMs"));
                            }
                            session_after_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Features => {
                            if features__.is_some() {
                                return Err(serde::de::Error::duplicate_field("features"));
                            }
                            features__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Hello {
                    token: token__.unwrap_or_default(),
                    session: session__.unwrap_or_default(),
                    models: models__.unwrap_or_default(),
                    session_after_ms: session_after_ms__.unwrap_or_default(),
                    features: features__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Hello", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for IndexEntry {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.newest.is_some() {
            len += 1;
        }
        if !self.older.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.IndexEntry", len)?;
        if let Some(v) = self.newest.as_ref() {
            struct_ser.serialize_field("newest", v)?;
        }
        if !self.older.is_empty() {
            struct_ser.serialize_field("older", &self.older)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for IndexEntry {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "newest",
            "older",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Newest,
            Older,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "newest" => Ok(GeneratedField::Newest),
                            "older" => Ok(GeneratedField::Older),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = IndexEntry;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.IndexEntry")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<IndexEntry, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut newest__ = None;
                let mut older__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Newest => {
                            if newest__.is_some() {
                                return Err(serde::de::Error::duplicate_field("newest"));
                            }
                            newest__ = map_.next_value()?;
                        }
                        GeneratedField::Older => {
                            if older__.is_some() {
                                return Err(serde::de::Error::duplicate_field("older"));
                            }
                            older__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(IndexEntry {
                    newest: newest__,
                    older: older__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.IndexEntry", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Lagging {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Lagging", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Lagging {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Lagging;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Lagging")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Lagging, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Lagging {
                    chunk_id: chunk_id__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Lagging", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Ledger {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.floor_ms != 0 {
            len += 1;
        }
        if !self.entries.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Ledger", len)?;
        if self.floor_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("floorMs", ToString::to_string(&self.floor_ms).as_str())?;
        }
        if !self.entries.is_empty() {
            struct_ser.serialize_field("entries", &self.entries)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Ledger {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "floor_ms",
            "floorMs",
            "entries",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            FloorMs,
            Entries,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "floorMs" | "floor_ms" => Ok(GeneratedField::FloorMs),
                            "entries" => Ok(GeneratedField::Entries),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Ledger;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Ledger")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Ledger, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut floor_ms__ = None;
                let mut entries__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::FloorMs => {
                            if floor_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("floorMs"));
                            }
                            floor_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Entries => {
                            if entries__.is_some() {
                                return Err(serde::de::Error::duplicate_field("entries"));
                            }
                            entries__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Ledger {
                    floor_ms: floor_ms__.unwrap_or_default(),
                    entries: entries__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Ledger", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for LedgerEntry {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.writer.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if self.committed_bits != 0 {
            len += 1;
        }
        if self.last_offset != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.LedgerEntry", len)?;
        if !self.writer.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("writer", pbjson::private::base64::encode(&self.writer).as_str())?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if self.committed_bits != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("committedBits", ToString::to_string(&self.committed_bits).as_str())?;
        }
        if self.last_offset != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("lastOffset", ToString::to_string(&self.last_offset).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for LedgerEntry {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "writer",
            "seq",
            "committed_bits",
            "committedBits",
            "last_offset",
            "lastOffset",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Writer,
            Seq,
            CommittedBits,
            LastOffset,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "writer" => Ok(GeneratedField::Writer),
                            "seq" => Ok(GeneratedField::Seq),
                            "committedBits" | "committed_bits" => Ok(GeneratedField::CommittedBits),
                            "lastOffset" | "last_offset" => Ok(GeneratedField::LastOffset),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = LedgerEntry;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.LedgerEntry")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<LedgerEntry, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut writer__ = None;
                let mut seq__ = None;
                let mut committed_bits__ = None;
                let mut last_offset__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Writer => {
                            if writer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("writer"));
                            }
                            writer__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommittedBits => {
                            if committed_bits__.is_some() {
                                return Err(serde::de::Error::duplicate_field("committedBits"));
                            }
                            committed_bits__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::LastOffset => {
                            if last_offset__.is_some() {
                                return Err(serde::de::Error::duplicate_field("lastOffset"));
                            }
                            last_offset__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(LedgerEntry {
                    writer: writer__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    committed_bits: committed_bits__.unwrap_or_default(),
                    last_offset: last_offset__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.LedgerEntry", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Limits {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.frame_bytes_max != 0 {
            len += 1;
        }
        if self.command_bytes_max != 0 {
            len += 1;
        }
        if self.commands_per_second != 0 {
            len += 1;
        }
        if self.tracked_chunks_max != 0 {
            len += 1;
        }
        if self.ping_interval_ms != 0 {
            len += 1;
        }
        if self.dead_after_ms != 0 {
            len += 1;
        }
        if self.commands_burst != 0 {
            len += 1;
        }
        if self.bytes_per_second != 0 {
            len += 1;
        }
        if self.bytes_burst != 0 {
            len += 1;
        }
        if self.cost_per_second != 0 {
            len += 1;
        }
        if self.cost_burst != 0 {
            len += 1;
        }
        if self.connections_max != 0 {
            len += 1;
        }
        if self.requests_per_second != 0 {
            len += 1;
        }
        if self.requests_burst != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Limits", len)?;
        if self.frame_bytes_max != 0 {
            struct_ser.serialize_field("frameBytesMax", &self.frame_bytes_max)?;
        }
        if self.command_bytes_max != 0 {
            struct_ser.serialize_field("commandBytesMax", &self.command_bytes_max)?;
        }
        if self.commands_per_second != 0 {
            struct_ser.serialize_field("commandsPerSecond", &self.commands_per_second)?;
        }
        if self.tracked_chunks_max != 0 {
            struct_ser.serialize_field("trackedChunksMax", &self.tracked_chunks_max)?;
        }
        if self.ping_interval_ms != 0 {
            struct_ser.serialize_field("pingIntervalMs", &self.ping_interval_ms)?;
        }
        if self.dead_after_ms != 0 {
            struct_ser.serialize_field("deadAfterMs", &self.dead_after_ms)?;
        }
        if self.commands_burst != 0 {
            struct_ser.serialize_field("commandsBurst", &self.commands_burst)?;
        }
        if self.bytes_per_second != 0 {
            struct_ser.serialize_field("bytesPerSecond", &self.bytes_per_second)?;
        }
        if self.bytes_burst != 0 {
            struct_ser.serialize_field("bytesBurst", &self.bytes_burst)?;
        }
        if self.cost_per_second != 0 {
            struct_ser.serialize_field("costPerSecond", &self.cost_per_second)?;
        }
        if self.cost_burst != 0 {
            struct_ser.serialize_field("costBurst", &self.cost_burst)?;
        }
        if self.connections_max != 0 {
            struct_ser.serialize_field("connectionsMax", &self.connections_max)?;
        }
        if self.requests_per_second != 0 {
            struct_ser.serialize_field("requestsPerSecond", &self.requests_per_second)?;
        }
        if self.requests_burst != 0 {
            struct_ser.serialize_field("requestsBurst", &self.requests_burst)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Limits {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "frame_bytes_max",
            "frameBytesMax",
            "command_bytes_max",
            "commandBytesMax",
            "commands_per_second",
            "commandsPerSecond",
            "tracked_chunks_max",
            "trackedChunksMax",
            "ping_interval_ms",
            "pingIntervalMs",
            "dead_after_ms",
            "deadAfterMs",
            "commands_burst",
            "commandsBurst",
            "bytes_per_second",
            "bytesPerSecond",
            "bytes_burst",
            "bytesBurst",
            "cost_per_second",
            "costPerSecond",
            "cost_burst",
            "costBurst",
            "connections_max",
            "connectionsMax",
            "requests_per_second",
            "requestsPerSecond",
            "requests_burst",
            "requestsBurst",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            FrameBytesMax,
            CommandBytesMax,
            CommandsPerSecond,
            TrackedChunksMax,
            PingIntervalMs,
            DeadAfterMs,
            CommandsBurst,
            BytesPerSecond,
            BytesBurst,
            CostPerSecond,
            CostBurst,
            ConnectionsMax,
            RequestsPerSecond,
            RequestsBurst,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "frameBytesMax" | "frame_bytes_max" => Ok(GeneratedField::FrameBytesMax),
                            "commandBytesMax" | "command_bytes_max" => Ok(GeneratedField::CommandBytesMax),
                            "commandsPerSecond" | "commands_per_second" => Ok(GeneratedField::CommandsPerSecond),
                            "trackedChunksMax" | "tracked_chunks_max" => Ok(GeneratedField::TrackedChunksMax),
                            "pingIntervalMs" | "ping_interval_ms" => Ok(GeneratedField::PingIntervalMs),
                            "deadAfterMs" | "dead_after_ms" => Ok(GeneratedField::DeadAfterMs),
                            "commandsBurst" | "commands_burst" => Ok(GeneratedField::CommandsBurst),
                            "bytesPerSecond" | "bytes_per_second" => Ok(GeneratedField::BytesPerSecond),
                            "bytesBurst" | "bytes_burst" => Ok(GeneratedField::BytesBurst),
                            "costPerSecond" | "cost_per_second" => Ok(GeneratedField::CostPerSecond),
                            "costBurst" | "cost_burst" => Ok(GeneratedField::CostBurst),
                            "connectionsMax" | "connections_max" => Ok(GeneratedField::ConnectionsMax),
                            "requestsPerSecond" | "requests_per_second" => Ok(GeneratedField::RequestsPerSecond),
                            "requestsBurst" | "requests_burst" => Ok(GeneratedField::RequestsBurst),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Limits;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Limits")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Limits, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut frame_bytes_max__ = None;
                let mut command_bytes_max__ = None;
                let mut commands_per_second__ = None;
                let mut tracked_chunks_max__ = None;
                let mut ping_interval_ms__ = None;
                let mut dead_after_ms__ = None;
                let mut commands_burst__ = None;
                let mut bytes_per_second__ = None;
                let mut bytes_burst__ = None;
                let mut cost_per_second__ = None;
                let mut cost_burst__ = None;
                let mut connections_max__ = None;
                let mut requests_per_second__ = None;
                let mut requests_burst__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::FrameBytesMax => {
                            if frame_bytes_max__.is_some() {
                                return Err(serde::de::Error::duplicate_field("frameBytesMax"));
                            }
                            frame_bytes_max__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandBytesMax => {
                            if command_bytes_max__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandBytesMax"));
                            }
                            command_bytes_max__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsPerSecond => {
                            if commands_per_second__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsPerSecond"));
                            }
                            commands_per_second__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::TrackedChunksMax => {
                            if tracked_chunks_max__.is_some() {
                                return Err(serde::de::Error::duplicate_field("trackedChunksMax"));
                            }
                            tracked_chunks_max__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::PingIntervalMs => {
                            if ping_interval_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("pingIntervalMs"));
                            }
                            ping_interval_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::DeadAfterMs => {
                            if dead_after_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("deadAfterMs"));
                            }
                            dead_after_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommandsBurst => {
                            if commands_burst__.is_some() {
                                return Err(serde::de::Error::duplicate_field("commandsBurst"));
                            }
                            commands_burst__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::BytesPerSecond => {
                            if bytes_per_second__.is_some() {
                                return Err(serde::de::Error::duplicate_field("bytesPerSecond"));
                            }
                            bytes_per_second__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::BytesBurst => {
                            if bytes_burst__.is_some() {
                                return Err(serde::de::Error::duplicate_field("bytesBurst"));
                            }
                            bytes_burst__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CostPerSecond => {
                            if cost_per_second__.is_some() {
                                return Err(serde::de::Error::duplicate_field("costPerSecond"));
                            }
                            cost_per_second__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CostBurst => {
                            if cost_burst__.is_some() {
                                return Err(serde::de::Error::duplicate_field("costBurst"));
                            }
                            cost_burst__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ConnectionsMax => {
                            if connections_max__.is_some() {
                                return Err(serde::de::Error::duplicate_field("connectionsMax"));
                            }
                            connections_max__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::RequestsPerSecond => {
                            if requests_per_second__.is_some() {
                                return Err(serde::de::Error::duplicate_field("requestsPerSecond"));
                            }
                            requests_per_second__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::RequestsBurst => {
                            if requests_burst__.is_some() {
                                return Err(serde::de::Error::duplicate_field("requestsBurst"));
                            }
                            requests_burst__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Limits {
                    frame_bytes_max: frame_bytes_max__.unwrap_or_default(),
                    command_bytes_max: command_bytes_max__.unwrap_or_default(),
                    commands_per_second: commands_per_second__.unwrap_or_default(),
                    tracked_chunks_max: tracked_chunks_max__.unwrap_or_default(),
                    ping_interval_ms: ping_interval_ms__.unwrap_or_default(),
                    dead_after_ms: dead_after_ms__.unwrap_or_default(),
                    commands_burst: commands_burst__.unwrap_or_default(),
                    bytes_per_second: bytes_per_second__.unwrap_or_default(),
                    bytes_burst: bytes_burst__.unwrap_or_default(),
                    cost_per_second: cost_per_second__.unwrap_or_default(),
                    cost_burst: cost_burst__.unwrap_or_default(),
                    connections_max: connections_max__.unwrap_or_default(),
                    requests_per_second: requests_per_second__.unwrap_or_default(),
                    requests_burst: requests_burst__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Limits", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for MapCommand {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.MapCommand", len)?;
        if let Some(v) = self.body.as_ref() {
            match v {
                map_command::Body::Put(v) => {
                    struct_ser.serialize_field("put", v)?;
                }
                map_command::Body::Delete(v) => {
                    struct_ser.serialize_field("delete", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for MapCommand {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "put",
            "delete",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Put,
            Delete,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "put" => Ok(GeneratedField::Put),
                            "delete" => Ok(GeneratedField::Delete),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = MapCommand;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.MapCommand")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<MapCommand, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Put => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("put"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(map_command::Body::Put)
;
                        }
                        GeneratedField::Delete => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("delete"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(map_command::Body::Delete)
;
                        }
                    }
                }
                Ok(MapCommand {
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.MapCommand", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for MapGuard {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.is.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.MapGuard", len)?;
        if let Some(v) = self.is.as_ref() {
            match v {
                map_guard::Is::Absent(v) => {
                    struct_ser.serialize_field("absent", v)?;
                }
                map_guard::Is::ValueHash(v) => {
                    #[allow(clippy::needless_borrow)]
                    #[allow(clippy::needless_borrows_for_generic_args)]
                    struct_ser.serialize_field("valueHash", pbjson::private::base64::encode(&v).as_str())?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for MapGuard {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "absent",
            "value_hash",
            "valueHash",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Absent,
            ValueHash,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "absent" => Ok(GeneratedField::Absent),
                            "valueHash" | "value_hash" => Ok(GeneratedField::ValueHash),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = MapGuard;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.MapGuard")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<MapGuard, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut is__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Absent => {
                            if is__.is_some() {
                                return Err(serde::de::Error::duplicate_field("absent"));
                            }
                            is__ = map_.next_value::<::std::option::Option<_>>()?.map(map_guard::Is::Absent)
;
                        }
                        GeneratedField::ValueHash => {
                            if is__.is_some() {
                                return Err(serde::de::Error::duplicate_field("valueHash"));
                            }
                            is__ = map_.next_value::<::std::option::Option<::pbjson::private::BytesDeserialize<_>>>()?.map(|x| map_guard::Is::ValueHash(x.0));
                        }
                    }
                }
                Ok(MapGuard {
                    is: is__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.MapGuard", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Mark {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.source_offset != 0 {
            len += 1;
        }
        if !self.author.is_empty() {
            len += 1;
        }
        if self.received_at_ms != 0 {
            len += 1;
        }
        if !self.writer.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if self.outcome.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Mark", len)?;
        if self.source_offset != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("sourceOffset", ToString::to_string(&self.source_offset).as_str())?;
        }
        if !self.author.is_empty() {
            struct_ser.serialize_field("author", &self.author)?;
        }
        if self.received_at_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("receivedAtMs", ToString::to_string(&self.received_at_ms).as_str())?;
        }
        if !self.writer.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("writer", pbjson::private::base64::encode(&self.writer).as_str())?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if let Some(v) = self.outcome.as_ref() {
            match v {
                mark::Outcome::Committed(v) => {
                    struct_ser.serialize_field("committed", v)?;
                }
                mark::Outcome::Discarded(v) => {
                    struct_ser.serialize_field("discarded", v)?;
                }
                mark::Outcome::OutOfOrder(v) => {
                    struct_ser.serialize_field("outOfOrder", v)?;
                }
                mark::Outcome::SessionExpired(v) => {
                    struct_ser.serialize_field("sessionExpired", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Mark {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "source_offset",
            "sourceOffset",
            "author",
            "received_at_ms",
            "receivedAtMs",
            "writer",
            "seq",
            "committed",
            "discarded",
            "out_of_order",
            "outOfOrder",
            "session_expired",
            "sessionExpired",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            SourceOffset,
            Author,
            ReceivedAtMs,
            Writer,
            Seq,
            Committed,
            Discarded,
            OutOfOrder,
            SessionExpired,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "sourceOffset" | "source_offset" => Ok(GeneratedField::SourceOffset),
                            "author" => Ok(GeneratedField::Author),
                            "receivedAtMs" | "received_at_ms" => Ok(GeneratedField::ReceivedAtMs),
                            "writer" => Ok(GeneratedField::Writer),
                            "seq" => Ok(GeneratedField::Seq),
                            "committed" => Ok(GeneratedField::Committed),
                            "discarded" => Ok(GeneratedField::Discarded),
                            "outOfOrder" | "out_of_order" => Ok(GeneratedField::OutOfOrder),
                            "sessionExpired" | "session_expired" => Ok(GeneratedField::SessionExpired),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Mark;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Mark")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Mark, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut source_offset__ = None;
                let mut author__ = None;
                let mut received_at_ms__ = None;
                let mut writer__ = None;
                let mut seq__ = None;
                let mut outcome__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::SourceOffset => {
                            if source_offset__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sourceOffset"));
                            }
                            source_offset__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Author => {
                            if author__.is_some() {
                                return Err(serde::de::Error::duplicate_field("author"));
                            }
                            author__ = Some(map_.next_value()?);
                        }
                        GeneratedField::ReceivedAtMs => {
                            if received_at_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("receivedAtMs"));
                            }
                            received_at_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Writer => {
                            if writer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("writer"));
                            }
                            writer__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Committed => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("committed"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(mark::Outcome::Committed)
;
                        }
                        GeneratedField::Discarded => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("discarded"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(mark::Outcome::Discarded)
;
                        }
                        GeneratedField::OutOfOrder => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("outOfOrder"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(mark::Outcome::OutOfOrder)
;
                        }
                        GeneratedField::SessionExpired => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sessionExpired"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(mark::Outcome::SessionExpired)
;
                        }
                    }
                }
                Ok(Mark {
                    source_offset: source_offset__.unwrap_or_default(),
                    author: author__.unwrap_or_default(),
                    received_at_ms: received_at_ms__.unwrap_or_default(),
                    writer: writer__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    outcome: outcome__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Mark", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ModelRevision {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.id.is_empty() {
            len += 1;
        }
        if self.revision != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.ModelRevision", len)?;
        if !self.id.is_empty() {
            struct_ser.serialize_field("id", &self.id)?;
        }
        if self.revision != 0 {
            struct_ser.serialize_field("revision", &self.revision)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ModelRevision {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "id",
            "revision",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Id,
            Revision,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "id" => Ok(GeneratedField::Id),
                            "revision" => Ok(GeneratedField::Revision),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ModelRevision;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.ModelRevision")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ModelRevision, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut id__ = None;
                let mut revision__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Id => {
                            if id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("id"));
                            }
                            id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Revision => {
                            if revision__.is_some() {
                                return Err(serde::de::Error::duplicate_field("revision"));
                            }
                            revision__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(ModelRevision {
                    id: id__.unwrap_or_default(),
                    revision: revision__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.ModelRevision", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for OutOfOrder {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.OutOfOrder", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for OutOfOrder {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = OutOfOrder;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.OutOfOrder")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<OutOfOrder, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(OutOfOrder {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.OutOfOrder", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Outcome {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.seq != 0 {
            len += 1;
        }
        if self.outcome.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Outcome", len)?;
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if let Some(v) = self.outcome.as_ref() {
            match v {
                outcome::Outcome::Discarded(v) => {
                    struct_ser.serialize_field("discarded", v)?;
                }
                outcome::Outcome::OutOfOrder(v) => {
                    struct_ser.serialize_field("outOfOrder", v)?;
                }
                outcome::Outcome::SessionExpired(v) => {
                    struct_ser.serialize_field("sessionExpired", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Outcome {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "seq",
            "discarded",
            "out_of_order",
            "outOfOrder",
            "session_expired",
            "sessionExpired",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Seq,
            Discarded,
            OutOfOrder,
            SessionExpired,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "seq" => Ok(GeneratedField::Seq),
                            "discarded" => Ok(GeneratedField::Discarded),
                            "outOfOrder" | "out_of_order" => Ok(GeneratedField::OutOfOrder),
                            "sessionExpired" | "session_expired" => Ok(GeneratedField::SessionExpired),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Outcome;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Outcome")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Outcome, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut seq__ = None;
                let mut outcome__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Discarded => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("discarded"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(outcome::Outcome::Discarded)
;
                        }
                        GeneratedField::OutOfOrder => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("outOfOrder"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(outcome::Outcome::OutOfOrder)
;
                        }
                        GeneratedField::SessionExpired => {
                            if outcome__.is_some() {
                                return Err(serde::de::Error::duplicate_field("sessionExpired"));
                            }
                            outcome__ = map_.next_value::<::std::option::Option<_>>()?.map(outcome::Outcome::SessionExpired)
;
                        }
                    }
                }
                Ok(Outcome {
                    seq: seq__.unwrap_or_default(),
                    outcome: outcome__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Outcome", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Outcomes {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if !self.outcomes.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Outcomes", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if !self.outcomes.is_empty() {
            struct_ser.serialize_field("outcomes", &self.outcomes)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Outcomes {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "outcomes",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Outcomes,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "outcomes" => Ok(GeneratedField::Outcomes),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Outcomes;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Outcomes")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Outcomes, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut outcomes__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Outcomes => {
                            if outcomes__.is_some() {
                                return Err(serde::de::Error::duplicate_field("outcomes"));
                            }
                            outcomes__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Outcomes {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    outcomes: outcomes__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Outcomes", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for PackedObject {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.key.is_empty() {
            len += 1;
        }
        if self.offset != 0 {
            len += 1;
        }
        if self.len != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.PackedObject", len)?;
        if !self.key.is_empty() {
            struct_ser.serialize_field("key", &self.key)?;
        }
        if self.offset != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("offset", ToString::to_string(&self.offset).as_str())?;
        }
        if self.len != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("len", ToString::to_string(&self.len).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for PackedObject {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "key",
            "offset",
            "len",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Key,
            Offset,
            Len,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "key" => Ok(GeneratedField::Key),
                            "offset" => Ok(GeneratedField::Offset),
                            "len" => Ok(GeneratedField::Len),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = PackedObject;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.PackedObject")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<PackedObject, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut key__ = None;
                let mut offset__ = None;
                let mut len__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Key => {
                            if key__.is_some() {
                                return Err(serde::de::Error::duplicate_field("key"));
                            }
                            key__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Offset => {
                            if offset__.is_some() {
                                return Err(serde::de::Error::duplicate_field("offset"));
                            }
                            offset__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Len => {
                            if len__.is_some() {
                                return Err(serde::de::Error::duplicate_field("len"));
                            }
                            len__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(PackedObject {
                    key: key__.unwrap_or_default(),
                    offset: offset__.unwrap_or_default(),
                    len: len__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.PackedObject", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Ping {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.nonce != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Ping", len)?;
        if self.nonce != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("nonce", ToString::to_string(&self.nonce).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Ping {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "nonce",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Nonce,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "nonce" => Ok(GeneratedField::Nonce),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Ping;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Ping")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Ping, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut nonce__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Nonce => {
                            if nonce__.is_some() {
                                return Err(serde::de::Error::duplicate_field("nonce"));
                            }
                            nonce__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Ping {
                    nonce: nonce__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Ping", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Pong {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.nonce != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Pong", len)?;
        if self.nonce != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("nonce", ToString::to_string(&self.nonce).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Pong {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "nonce",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Nonce,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "nonce" => Ok(GeneratedField::Nonce),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Pong;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Pong")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Pong, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut nonce__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Nonce => {
                            if nonce__.is_some() {
                                return Err(serde::de::Error::duplicate_field("nonce"));
                            }
                            nonce__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Pong {
                    nonce: nonce__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Pong", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for PutKey {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.key.is_empty() {
            len += 1;
        }
        if !self.value.is_empty() {
            len += 1;
        }
        if self.guard.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.PutKey", len)?;
        if !self.key.is_empty() {
            struct_ser.serialize_field("key", &self.key)?;
        }
        if !self.value.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("value", pbjson::private::base64::encode(&self.value).as_str())?;
        }
        if let Some(v) = self.guard.as_ref() {
            struct_ser.serialize_field("guard", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for PutKey {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "key",
            "value",
            "guard",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Key,
            Value,
            Guard,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "key" => Ok(GeneratedField::Key),
                            "value" => Ok(GeneratedField::Value),
                            "guard" => Ok(GeneratedField::Guard),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = PutKey;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.PutKey")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<PutKey, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut key__ = None;
                let mut value__ = None;
                let mut guard__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Key => {
                            if key__.is_some() {
                                return Err(serde::de::Error::duplicate_field("key"));
                            }
                            key__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Value => {
                            if value__.is_some() {
                                return Err(serde::de::Error::duplicate_field("value"));
                            }
                            value__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Guard => {
                            if guard__.is_some() {
                                return Err(serde::de::Error::duplicate_field("guard"));
                            }
                            guard__ = map_.next_value()?;
                        }
                    }
                }
                Ok(PutKey {
                    key: key__.unwrap_or_default(),
                    value: value__.unwrap_or_default(),
                    guard: guard__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.PutKey", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Receipt {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Receipt", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Receipt {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "seq",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Seq,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "seq" => Ok(GeneratedField::Seq),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Receipt;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Receipt")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Receipt, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut seq__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Receipt {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Receipt", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Ref {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        if self.through_offset != 0 {
            len += 1;
        }
        if self.model_revision != 0 {
            len += 1;
        }
        if self.bytes != 0 {
            len += 1;
        }
        if self.ledger.is_some() {
            len += 1;
        }
        if self.location.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Ref", len)?;
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        if self.through_offset != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("throughOffset", ToString::to_string(&self.through_offset).as_str())?;
        }
        if self.model_revision != 0 {
            struct_ser.serialize_field("modelRevision", &self.model_revision)?;
        }
        if self.bytes != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("bytes", ToString::to_string(&self.bytes).as_str())?;
        }
        if let Some(v) = self.ledger.as_ref() {
            struct_ser.serialize_field("ledger", v)?;
        }
        if let Some(v) = self.location.as_ref() {
            match v {
                r#ref::Location::Object(v) => {
                    struct_ser.serialize_field("object", v)?;
                }
                r#ref::Location::Pack(v) => {
                    struct_ser.serialize_field("pack", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Ref {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "version",
            "hash",
            "through_offset",
            "throughOffset",
            "model_revision",
            "modelRevision",
            "bytes",
            "ledger",
            "object",
            "pack",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Version,
            Hash,
            ThroughOffset,
            ModelRevision,
            Bytes,
            Ledger,
            Object,
            Pack,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            "throughOffset" | "through_offset" => Ok(GeneratedField::ThroughOffset),
                            "modelRevision" | "model_revision" => Ok(GeneratedField::ModelRevision),
                            "bytes" => Ok(GeneratedField::Bytes),
                            "ledger" => Ok(GeneratedField::Ledger),
                            "object" => Ok(GeneratedField::Object),
                            "pack" => Ok(GeneratedField::Pack),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Ref;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Ref")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Ref, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut version__ = None;
                let mut hash__ = None;
                let mut through_offset__ = None;
                let mut model_revision__ = None;
                let mut bytes__ = None;
                let mut ledger__ = None;
                let mut location__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ThroughOffset => {
                            if through_offset__.is_some() {
                                return Err(serde::de::Error::duplicate_field("throughOffset"));
                            }
                            through_offset__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ModelRevision => {
                            if model_revision__.is_some() {
                                return Err(serde::de::Error::duplicate_field("modelRevision"));
                            }
                            model_revision__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Bytes => {
                            if bytes__.is_some() {
                                return Err(serde::de::Error::duplicate_field("bytes"));
                            }
                            bytes__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Ledger => {
                            if ledger__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ledger"));
                            }
                            ledger__ = map_.next_value()?;
                        }
                        GeneratedField::Object => {
                            if location__.is_some() {
                                return Err(serde::de::Error::duplicate_field("object"));
                            }
                            location__ = map_.next_value::<::std::option::Option<_>>()?.map(r#ref::Location::Object)
;
                        }
                        GeneratedField::Pack => {
                            if location__.is_some() {
                                return Err(serde::de::Error::duplicate_field("pack"));
                            }
                            location__ = map_.next_value::<::std::option::Option<_>>()?.map(r#ref::Location::Pack)
;
                        }
                    }
                }
                Ok(Ref {
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                    through_offset: through_offset__.unwrap_or_default(),
                    model_revision: model_revision__.unwrap_or_default(),
                    bytes: bytes__.unwrap_or_default(),
                    ledger: ledger__,
                    location: location__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Ref", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Refresh {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.version != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Refresh", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Refresh {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "version",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Version,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "version" => Ok(GeneratedField::Version),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Refresh;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Refresh")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Refresh, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut version__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Refresh {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Refresh", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for RefusalCode {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        let variant = match self {
            Self::Unspecified => "REFUSAL_CODE_UNSPECIFIED",
            Self::Undecodable => "REFUSAL_CODE_UNDECODABLE",
            Self::HelloExpected => "REFUSAL_CODE_HELLO_EXPECTED",
            Self::HelloRepeated => "REFUSAL_CODE_HELLO_REPEATED",
            Self::WrongService => "REFUSAL_CODE_WRONG_SERVICE",
            Self::Token => "REFUSAL_CODE_TOKEN",
            Self::NotTracked => "REFUSAL_CODE_NOT_TRACKED",
            Self::Limit => "REFUSAL_CODE_LIMIT",
        };
        serializer.serialize_str(variant)
    }
}
impl<'de> serde::Deserialize<'de> for RefusalCode {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "REFUSAL_CODE_UNSPECIFIED",
            "REFUSAL_CODE_UNDECODABLE",
            "REFUSAL_CODE_HELLO_EXPECTED",
            "REFUSAL_CODE_HELLO_REPEATED",
            "REFUSAL_CODE_WRONG_SERVICE",
            "REFUSAL_CODE_TOKEN",
            "REFUSAL_CODE_NOT_TRACKED",
            "REFUSAL_CODE_LIMIT",
        ];

        struct GeneratedVisitor;

        impl serde::de::Visitor<'_> for GeneratedVisitor {
            type Value = RefusalCode;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "expected one of: {:?}", &FIELDS)
            }

            fn visit_i64<E>(self, v: i64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(v), &self)
                    })
            }

            fn visit_u64<E>(self, v: u64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(v), &self)
                    })
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                match value {
                    "REFUSAL_CODE_UNSPECIFIED" => Ok(RefusalCode::Unspecified),
                    "REFUSAL_CODE_UNDECODABLE" => Ok(RefusalCode::Undecodable),
                    "REFUSAL_CODE_HELLO_EXPECTED" => Ok(RefusalCode::HelloExpected),
                    "REFUSAL_CODE_HELLO_REPEATED" => Ok(RefusalCode::HelloRepeated),
                    "REFUSAL_CODE_WRONG_SERVICE" => Ok(RefusalCode::WrongService),
                    "REFUSAL_CODE_TOKEN" => Ok(RefusalCode::Token),
                    "REFUSAL_CODE_NOT_TRACKED" => Ok(RefusalCode::NotTracked),
                    "REFUSAL_CODE_LIMIT" => Ok(RefusalCode::Limit),
                    _ => Err(serde::de::Error::unknown_variant(value, FIELDS)),
                }
            }
        }
        deserializer.deserialize_any(GeneratedVisitor)
    }
}
impl serde::Serialize for Refused {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.code != 0 {
            len += 1;
        }
        if !self.message.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Refused", len)?;
        if self.code != 0 {
            let v = RefusalCode::try_from(self.code)
                .map_err(|_| serde::ser::Error::custom(format!("Invalid variant {}", self.code)))?;
            struct_ser.serialize_field("code", &v)?;
        }
        if !self.message.is_empty() {
            struct_ser.serialize_field("message", &self.message)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Refused {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "code",
            "message",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Code,
            Message,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "code" => Ok(GeneratedField::Code),
                            "message" => Ok(GeneratedField::Message),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Refused;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Refused")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Refused, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut code__ = None;
                let mut message__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Code => {
                            if code__.is_some() {
                                return Err(serde::de::Error::duplicate_field("code"));
                            }
                            code__ = Some(map_.next_value::<RefusalCode>()? as i32);
                        }
                        GeneratedField::Message => {
                            if message__.is_some() {
                                return Err(serde::de::Error::duplicate_field("message"));
                            }
                            message__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Refused {
                    code: code__.unwrap_or_default(),
                    message: message__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Refused", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for RejectCode {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        let variant = match self {
            Self::Unspecified => "REJECT_CODE_UNSPECIFIED",
            Self::CommandTooLarge => "REJECT_CODE_COMMAND_TOO_LARGE",
            Self::BadChunkId => "REJECT_CODE_BAD_CHUNK_ID",
            Self::UnknownFamily => "REJECT_CODE_UNKNOWN_FAMILY",
            Self::OutOfBounds => "REJECT_CODE_OUT_OF_BOUNDS",
            Self::NoWriteAccess => "REJECT_CODE_NO_WRITE_ACCESS",
            Self::BadCommand => "REJECT_CODE_BAD_COMMAND",
            Self::BadSeq => "REJECT_CODE_BAD_SEQ",
            Self::SeqReused => "REJECT_CODE_SEQ_REUSED",
            Self::RateLimited => "REJECT_CODE_RATE_LIMITED",
            Self::Unavailable => "REJECT_CODE_UNAVAILABLE",
            Self::TokenExpired => "REJECT_CODE_TOKEN_EXPIRED",
        };
        serializer.serialize_str(variant)
    }
}
impl<'de> serde::Deserialize<'de> for RejectCode {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "REJECT_CODE_UNSPECIFIED",
            "REJECT_CODE_COMMAND_TOO_LARGE",
            "REJECT_CODE_BAD_CHUNK_ID",
            "REJECT_CODE_UNKNOWN_FAMILY",
            "REJECT_CODE_OUT_OF_BOUNDS",
            "REJECT_CODE_NO_WRITE_ACCESS",
            "REJECT_CODE_BAD_COMMAND",
            "REJECT_CODE_BAD_SEQ",
            "REJECT_CODE_SEQ_REUSED",
            "REJECT_CODE_RATE_LIMITED",
            "REJECT_CODE_UNAVAILABLE",
            "REJECT_CODE_TOKEN_EXPIRED",
        ];

        struct GeneratedVisitor;

        impl serde::de::Visitor<'_> for GeneratedVisitor {
            type Value = RejectCode;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "expected one of: {:?}", &FIELDS)
            }

            fn visit_i64<E>(self, v: i64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(v), &self)
                    })
            }

            fn visit_u64<E>(self, v: u64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(v), &self)
                    })
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                match value {
                    "REJECT_CODE_UNSPECIFIED" => Ok(RejectCode::Unspecified),
                    "REJECT_CODE_COMMAND_TOO_LARGE" => Ok(RejectCode::CommandTooLarge),
                    "REJECT_CODE_BAD_CHUNK_ID" => Ok(RejectCode::BadChunkId),
                    "REJECT_CODE_UNKNOWN_FAMILY" => Ok(RejectCode::UnknownFamily),
                    "REJECT_CODE_OUT_OF_BOUNDS" => Ok(RejectCode::OutOfBounds),
                    "REJECT_CODE_NO_WRITE_ACCESS" => Ok(RejectCode::NoWriteAccess),
                    "REJECT_CODE_BAD_COMMAND" => Ok(RejectCode::BadCommand),
                    "REJECT_CODE_BAD_SEQ" => Ok(RejectCode::BadSeq),
                    "REJECT_CODE_SEQ_REUSED" => Ok(RejectCode::SeqReused),
                    "REJECT_CODE_RATE_LIMITED" => Ok(RejectCode::RateLimited),
                    "REJECT_CODE_UNAVAILABLE" => Ok(RejectCode::Unavailable),
                    "REJECT_CODE_TOKEN_EXPIRED" => Ok(RejectCode::TokenExpired),
                    _ => Err(serde::de::Error::unknown_variant(value, FIELDS)),
                }
            }
        }
        deserializer.deserialize_any(GeneratedVisitor)
    }
}
impl serde::Serialize for Rejected {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if self.code != 0 {
            len += 1;
        }
        if self.retry != 0 {
            len += 1;
        }
        if self.retry_after_ms != 0 {
            len += 1;
        }
        if !self.message.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Rejected", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if self.code != 0 {
            let v = RejectCode::try_from(self.code)
                .map_err(|_| serde::ser::Error::custom(format!("Invalid variant {}", self.code)))?;
            struct_ser.serialize_field("code", &v)?;
        }
        if self.retry != 0 {
            let v = Retry::try_from(self.retry)
                .map_err(|_| serde::ser::Error::custom(format!("Invalid variant {}", self.retry)))?;
            struct_ser.serialize_field("retry", &v)?;
        }
        if self.retry_after_ms != 0 {
            struct_ser.serialize_field("retryAfterMs", &self.retry_after_ms)?;
        }
        if !self.message.is_empty() {
            struct_ser.serialize_field("message", &self.message)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Rejected {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "seq",
            "code",
            "retry",
            "retry_after_ms",
            "retryAfterMs",
            "message",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Seq,
            Code,
            Retry,
            RetryAfterMs,
            Message,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "seq" => Ok(GeneratedField::Seq),
                            "code" => Ok(GeneratedField::Code),
                            "retry" => Ok(GeneratedField::Retry),
                            "retryAfterMs" | "retry_after_ms" => Ok(GeneratedField::RetryAfterMs),
                            "message" => Ok(GeneratedField::Message),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Rejected;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Rejected")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Rejected, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut seq__ = None;
                let mut code__ = None;
                let mut retry__ = None;
                let mut retry_after_ms__ = None;
                let mut message__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Code => {
                            if code__.is_some() {
                                return Err(serde::de::Error::duplicate_field("code"));
                            }
                            code__ = Some(map_.next_value::<RejectCode>()? as i32);
                        }
                        GeneratedField::Retry => {
                            if retry__.is_some() {
                                return Err(serde::de::Error::duplicate_field("retry"));
                            }
                            retry__ = Some(map_.next_value::<Retry>()? as i32);
                        }
                        GeneratedField::RetryAfterMs => {
                            if retry_after_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("retryAfterMs"));
                            }
                            retry_after_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Message => {
                            if message__.is_some() {
                                return Err(serde::de::Error::duplicate_field("message"));
                            }
                            message__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Rejected {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    code: code__.unwrap_or_default(),
                    retry: retry__.unwrap_or_default(),
                    retry_after_ms: retry_after_ms__.unwrap_or_default(),
                    message: message__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Rejected", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Renew {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.token.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Renew", len)?;
        if !self.token.is_empty() {
            struct_ser.serialize_field("token", &self.token)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Renew {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "token",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Token,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "token" => Ok(GeneratedField::Token),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Renew;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Renew")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Renew, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut token__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Token => {
                            if token__.is_some() {
                                return Err(serde::de::Error::duplicate_field("token"));
                            }
                            token__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Renew {
                    token: token__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Renew", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Renewed {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.token_expires_at != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Renewed", len)?;
        if self.token_expires_at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("tokenExpiresAt", ToString::to_string(&self.token_expires_at).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Renewed {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "token_expires_at",
            "tokenExpiresAt",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            TokenExpiresAt,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "tokenExpiresAt" | "token_expires_at" => Ok(GeneratedField::TokenExpiresAt),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Renewed;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Renewed")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Renewed, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut token_expires_at__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::TokenExpiresAt => {
                            if token_expires_at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("tokenExpiresAt"));
                            }
                            token_expires_at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Renewed {
                    token_expires_at: token_expires_at__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Renewed", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Request {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Request", len)?;
        if let Some(v) = self.body.as_ref() {
            match v {
                request::Body::Hello(v) => {
                    struct_ser.serialize_field("hello", v)?;
                }
                request::Body::Renew(v) => {
                    struct_ser.serialize_field("renew", v)?;
                }
                request::Body::Ping(v) => {
                    struct_ser.serialize_field("ping", v)?;
                }
                request::Body::Pong(v) => {
                    struct_ser.serialize_field("pong", v)?;
                }
                request::Body::Submit(v) => {
                    struct_ser.serialize_field("submit", v)?;
                }
                request::Body::Track(v) => {
                    struct_ser.serialize_field("track", v)?;
                }
                request::Body::Untrack(v) => {
                    struct_ser.serialize_field("untrack", v)?;
                }
                request::Body::Refresh(v) => {
                    struct_ser.serialize_field("refresh", v)?;
                }
                request::Body::DriftReport(v) => {
                    struct_ser.serialize_field("driftReport", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Request {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "hello",
            "renew",
            "ping",
            "pong",
            "submit",
            "track",
            "untrack",
            "refresh",
            "drift_report",
            "driftReport",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Hello,
            Renew,
            Ping,
            Pong,
            Submit,
            Track,
            Untrack,
            Refresh,
            DriftReport,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "hello" => Ok(GeneratedField::Hello),
                            "renew" => Ok(GeneratedField::Renew),
                            "ping" => Ok(GeneratedField::Ping),
                            "pong" => Ok(GeneratedField::Pong),
                            "submit" => Ok(GeneratedField::Submit),
                            "track" => Ok(GeneratedField::Track),
                            "untrack" => Ok(GeneratedField::Untrack),
                            "refresh" => Ok(GeneratedField::Refresh),
                            "driftReport" | "drift_report" => Ok(GeneratedField::DriftReport),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Request;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Request")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Request, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Hello => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hello"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Hello)
;
                        }
                        GeneratedField::Renew => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("renew"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Renew)
;
                        }
                        GeneratedField::Ping => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ping"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Ping)
;
                        }
                        GeneratedField::Pong => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("pong"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Pong)
;
                        }
                        GeneratedField::Submit => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("submit"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Submit)
;
                        }
                        GeneratedField::Track => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("track"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Track)
;
                        }
                        GeneratedField::Untrack => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("untrack"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Untrack)
;
                        }
                        GeneratedField::Refresh => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("refresh"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::Refresh)
;
                        }
                        GeneratedField::DriftReport => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("driftReport"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(request::Body::DriftReport)
;
                        }
                    }
                }
                Ok(Request {
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Request", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Resolved {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.seq != 0 {
            len += 1;
        }
        if self.committed_bits != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Resolved", len)?;
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if self.committed_bits != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("committedBits", ToString::to_string(&self.committed_bits).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Resolved {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "seq",
            "committed_bits",
            "committedBits",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Seq,
            CommittedBits,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "seq" => Ok(GeneratedField::Seq),
                            "committedBits" | "committed_bits" => Ok(GeneratedField::CommittedBits),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Resolved;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Resolved")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Resolved, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut seq__ = None;
                let mut committed_bits__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::CommittedBits => {
                            if committed_bits__.is_some() {
                                return Err(serde::de::Error::duplicate_field("committedBits"));
                            }
                            committed_bits__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Resolved {
                    seq: seq__.unwrap_or_default(),
                    committed_bits: committed_bits__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Resolved", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for ResolvedExpired {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.ResolvedExpired", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ResolvedExpired {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ResolvedExpired;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.ResolvedExpired")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ResolvedExpired, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(ResolvedExpired {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.ResolvedExpired", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Retry {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        let variant = match self {
            Self::Unspecified => "RETRY_UNSPECIFIED",
            Self::Final => "RETRY_FINAL",
            Self::After => "RETRY_AFTER",
            Self::Reauthenticate => "RETRY_REAUTHENTICATE",
        };
        serializer.serialize_str(variant)
    }
}
impl<'de> serde::Deserialize<'de> for Retry {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "RETRY_UNSPECIFIED",
            "RETRY_FINAL",
            "RETRY_AFTER",
            "RETRY_REAUTHENTICATE",
        ];

        struct GeneratedVisitor;

        impl serde::de::Visitor<'_> for GeneratedVisitor {
            type Value = Retry;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "expected one of: {:?}", &FIELDS)
            }

            fn visit_i64<E>(self, v: i64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(v), &self)
                    })
            }

            fn visit_u64<E>(self, v: u64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(v), &self)
                    })
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                match value {
                    "RETRY_UNSPECIFIED" => Ok(Retry::Unspecified),
                    "RETRY_FINAL" => Ok(Retry::Final),
                    "RETRY_AFTER" => Ok(Retry::After),
                    "RETRY_REAUTHENTICATE" => Ok(Retry::Reauthenticate),
                    _ => Err(serde::de::Error::unknown_variant(value, FIELDS)),
                }
            }
        }
        deserializer.deserialize_any(GeneratedVisitor)
    }
}
impl serde::Serialize for ServerFrame {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.events.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.ServerFrame", len)?;
        if !self.events.is_empty() {
            struct_ser.serialize_field("events", &self.events)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for ServerFrame {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "events",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Events,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "events" => Ok(GeneratedField::Events),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = ServerFrame;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.ServerFrame")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<ServerFrame, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut events__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Events => {
                            if events__.is_some() {
                                return Err(serde::de::Error::duplicate_field("events"));
                            }
                            events__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(ServerFrame {
                    events: events__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.ServerFrame", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for SessionExpired {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.floor_ms != 0 {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.SessionExpired", len)?;
        if self.floor_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("floorMs", ToString::to_string(&self.floor_ms).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for SessionExpired {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "floor_ms",
            "floorMs",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            FloorMs,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "floorMs" | "floor_ms" => Ok(GeneratedField::FloorMs),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = SessionExpired;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.SessionExpired")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<SessionExpired, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut floor_ms__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::FloorMs => {
                            if floor_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("floorMs"));
                            }
                            floor_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(SessionExpired {
                    floor_ms: floor_ms__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.SessionExpired", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for SetCells {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.cells.is_empty() {
            len += 1;
        }
        if !self.values.is_empty() {
            len += 1;
        }
        if !self.guards.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.SetCells", len)?;
        if !self.cells.is_empty() {
            struct_ser.serialize_field("cells", &self.cells)?;
        }
        if !self.values.is_empty() {
            struct_ser.serialize_field("values", &self.values)?;
        }
        if !self.guards.is_empty() {
            struct_ser.serialize_field("guards", &self.guards)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for SetCells {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "cells",
            "values",
            "guards",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Cells,
            Values,
            Guards,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "cells" => Ok(GeneratedField::Cells),
                            "values" => Ok(GeneratedField::Values),
                            "guards" => Ok(GeneratedField::Guards),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = SetCells;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.SetCells")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<SetCells, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut cells__ = None;
                let mut values__ = None;
                let mut guards__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Cells => {
                            if cells__.is_some() {
                                return Err(serde::de::Error::duplicate_field("cells"));
                            }
                            cells__ = 
                                Some(map_.next_value::<Vec<::pbjson::private::NumberDeserialize<_>>>()?
                                    .into_iter().map(|x| x.0).collect())
                            ;
                        }
                        GeneratedField::Values => {
                            if values__.is_some() {
                                return Err(serde::de::Error::duplicate_field("values"));
                            }
                            values__ = 
                                Some(map_.next_value::<Vec<::pbjson::private::NumberDeserialize<_>>>()?
                                    .into_iter().map(|x| x.0).collect())
                            ;
                        }
                        GeneratedField::Guards => {
                            if guards__.is_some() {
                                return Err(serde::de::Error::duplicate_field("guards"));
                            }
                            guards__ = 
                                Some(map_.next_value::<Vec<::pbjson::private::NumberDeserialize<_>>>()?
                                    .into_iter().map(|x| x.0).collect())
                            ;
                        }
                    }
                }
                Ok(SetCells {
                    cells: cells__.unwrap_or_default(),
                    values: values__.unwrap_or_default(),
                    guards: guards__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.SetCells", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Settle {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.Settle", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Settle {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Settle;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Settle")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Settle, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(Settle {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Settle", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for SnapshotStored {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.r#ref.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.SnapshotStored", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if let Some(v) = self.r#ref.as_ref() {
            struct_ser.serialize_field("ref", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for SnapshotStored {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "ref",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Ref,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "ref" => Ok(GeneratedField::Ref),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = SnapshotStored;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.SnapshotStored")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<SnapshotStored, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut r#ref__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Ref => {
                            if r#ref__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ref"));
                            }
                            r#ref__ = map_.next_value()?;
                        }
                    }
                }
                Ok(SnapshotStored {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    r#ref: r#ref__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.SnapshotStored", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for StoredObject {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let len = 0;
        let struct_ser = serializer.serialize_struct("driftless.v1.StoredObject", len)?;
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for StoredObject {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                            Err(serde::de::Error::unknown_field(value, FIELDS))
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = StoredObject;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.StoredObject")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<StoredObject, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                while map_.next_key::<GeneratedField>()?.is_some() {
                    let _ = map_.next_value::<serde::de::IgnoredAny>()?;
                }
                Ok(StoredObject {
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.StoredObject", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Submit {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.seq != 0 {
            len += 1;
        }
        if self.after != 0 {
            len += 1;
        }
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Submit", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.seq != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("seq", ToString::to_string(&self.seq).as_str())?;
        }
        if self.after != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("after", ToString::to_string(&self.after).as_str())?;
        }
        if let Some(v) = self.body.as_ref() {
            match v {
                submit::Body::Command(v) => {
                    #[allow(clippy::needless_borrow)]
                    #[allow(clippy::needless_borrows_for_generic_args)]
                    struct_ser.serialize_field("command", pbjson::private::base64::encode(&v).as_str())?;
                }
                submit::Body::Settle(v) => {
                    struct_ser.serialize_field("settle", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Submit {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "seq",
            "after",
            "command",
            "settle",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Seq,
            After,
            Command,
            Settle,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "seq" => Ok(GeneratedField::Seq),
                            "after" => Ok(GeneratedField::After),
                            "command" => Ok(GeneratedField::Command),
                            "settle" => Ok(GeneratedField::Settle),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Submit;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Submit")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Submit, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut seq__ = None;
                let mut after__ = None;
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Seq => {
                            if seq__.is_some() {
                                return Err(serde::de::Error::duplicate_field("seq"));
                            }
                            seq__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::After => {
                            if after__.is_some() {
                                return Err(serde::de::Error::duplicate_field("after"));
                            }
                            after__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Command => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("command"));
                            }
                            body__ = map_.next_value::<::std::option::Option<::pbjson::private::BytesDeserialize<_>>>()?.map(|x| submit::Body::Command(x.0));
                        }
                        GeneratedField::Settle => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("settle"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(submit::Body::Settle)
;
                        }
                    }
                }
                Ok(Submit {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    seq: seq__.unwrap_or_default(),
                    after: after__.unwrap_or_default(),
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Submit", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Track {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.have.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Track", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if let Some(v) = self.have.as_ref() {
            struct_ser.serialize_field("have", v)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Track {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "have",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Have,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "have" => Ok(GeneratedField::Have),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Track;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Track")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Track, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut have__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Have => {
                            if have__.is_some() {
                                return Err(serde::de::Error::duplicate_field("have"));
                            }
                            have__ = map_.next_value()?;
                        }
                    }
                }
                Ok(Track {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    have: have__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Track", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for TrackRejectCode {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        let variant = match self {
            Self::Unspecified => "TRACK_REJECT_CODE_UNSPECIFIED",
            Self::BadChunkId => "TRACK_REJECT_CODE_BAD_CHUNK_ID",
            Self::UnknownFamily => "TRACK_REJECT_CODE_UNKNOWN_FAMILY",
            Self::OutOfBounds => "TRACK_REJECT_CODE_OUT_OF_BOUNDS",
            Self::NoReadAccess => "TRACK_REJECT_CODE_NO_READ_ACCESS",
            Self::TooMany => "TRACK_REJECT_CODE_TOO_MANY",
            Self::Model => "TRACK_REJECT_CODE_MODEL",
            Self::Unavailable => "TRACK_REJECT_CODE_UNAVAILABLE",
        };
        serializer.serialize_str(variant)
    }
}
impl<'de> serde::Deserialize<'de> for TrackRejectCode {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "TRACK_REJECT_CODE_UNSPECIFIED",
            "TRACK_REJECT_CODE_BAD_CHUNK_ID",
            "TRACK_REJECT_CODE_UNKNOWN_FAMILY",
            "TRACK_REJECT_CODE_OUT_OF_BOUNDS",
            "TRACK_REJECT_CODE_NO_READ_ACCESS",
            "TRACK_REJECT_CODE_TOO_MANY",
            "TRACK_REJECT_CODE_MODEL",
            "TRACK_REJECT_CODE_UNAVAILABLE",
        ];

        struct GeneratedVisitor;

        impl serde::de::Visitor<'_> for GeneratedVisitor {
            type Value = TrackRejectCode;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "expected one of: {:?}", &FIELDS)
            }

            fn visit_i64<E>(self, v: i64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Signed(v), &self)
                    })
            }

            fn visit_u64<E>(self, v: u64) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                i32::try_from(v)
                    .ok()
                    .and_then(|x| x.try_into().ok())
                    .ok_or_else(|| {
                        serde::de::Error::invalid_value(serde::de::Unexpected::Unsigned(v), &self)
                    })
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<Self::Value, E>
            where
                E: serde::de::Error,
            {
                match value {
                    "TRACK_REJECT_CODE_UNSPECIFIED" => Ok(TrackRejectCode::Unspecified),
                    "TRACK_REJECT_CODE_BAD_CHUNK_ID" => Ok(TrackRejectCode::BadChunkId),
                    "TRACK_REJECT_CODE_UNKNOWN_FAMILY" => Ok(TrackRejectCode::UnknownFamily),
                    "TRACK_REJECT_CODE_OUT_OF_BOUNDS" => Ok(TrackRejectCode::OutOfBounds),
                    "TRACK_REJECT_CODE_NO_READ_ACCESS" => Ok(TrackRejectCode::NoReadAccess),
                    "TRACK_REJECT_CODE_TOO_MANY" => Ok(TrackRejectCode::TooMany),
                    "TRACK_REJECT_CODE_MODEL" => Ok(TrackRejectCode::Model),
                    "TRACK_REJECT_CODE_UNAVAILABLE" => Ok(TrackRejectCode::Unavailable),
                    _ => Err(serde::de::Error::unknown_variant(value, FIELDS)),
                }
            }
        }
        deserializer.deserialize_any(GeneratedVisitor)
    }
}
impl serde::Serialize for TrackRejected {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.code != 0 {
            len += 1;
        }
        if !self.message.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.TrackRejected", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.code != 0 {
            let v = TrackRejectCode::try_from(self.code)
                .map_err(|_| serde::ser::Error::custom(format!("Invalid variant {}", self.code)))?;
            struct_ser.serialize_field("code", &v)?;
        }
        if !self.message.is_empty() {
            struct_ser.serialize_field("message", &self.message)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for TrackRejected {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "code",
            "message",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Code,
            Message,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "code" => Ok(GeneratedField::Code),
                            "message" => Ok(GeneratedField::Message),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = TrackRejected;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.TrackRejected")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<TrackRejected, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut code__ = None;
                let mut message__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Code => {
                            if code__.is_some() {
                                return Err(serde::de::Error::duplicate_field("code"));
                            }
                            code__ = Some(map_.next_value::<TrackRejectCode>()? as i32);
                        }
                        GeneratedField::Message => {
                            if message__.is_some() {
                                return Err(serde::de::Error::duplicate_field("message"));
                            }
                            message__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(TrackRejected {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    code: code__.unwrap_or_default(),
                    message: message__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.TrackRejected", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Tracked {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.version != 0 {
            len += 1;
        }
        if !self.hash.is_empty() {
            len += 1;
        }
        if !self.history.is_empty() {
            len += 1;
        }
        if self.resolved.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Tracked", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("version", ToString::to_string(&self.version).as_str())?;
        }
        if !self.hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("hash", pbjson::private::base64::encode(&self.hash).as_str())?;
        }
        if !self.history.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("history", pbjson::private::base64::encode(&self.history).as_str())?;
        }
        if let Some(v) = self.resolved.as_ref() {
            match v {
                tracked::Resolved::Ledger(v) => {
                    struct_ser.serialize_field("ledger", v)?;
                }
                tracked::Resolved::Expired(v) => {
                    struct_ser.serialize_field("expired", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Tracked {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "version",
            "hash",
            "history",
            "ledger",
            "expired",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            Version,
            Hash,
            History,
            Ledger,
            Expired,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "version" => Ok(GeneratedField::Version),
                            "hash" => Ok(GeneratedField::Hash),
                            "history" => Ok(GeneratedField::History),
                            "ledger" => Ok(GeneratedField::Ledger),
                            "expired" => Ok(GeneratedField::Expired),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Tracked;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Tracked")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Tracked, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut version__ = None;
                let mut hash__ = None;
                let mut history__ = None;
                let mut resolved__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Version => {
                            if version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("version"));
                            }
                            version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Hash => {
                            if hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("hash"));
                            }
                            hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::History => {
                            if history__.is_some() {
                                return Err(serde::de::Error::duplicate_field("history"));
                            }
                            history__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Ledger => {
                            if resolved__.is_some() {
                                return Err(serde::de::Error::duplicate_field("ledger"));
                            }
                            resolved__ = map_.next_value::<::std::option::Option<_>>()?.map(tracked::Resolved::Ledger)
;
                        }
                        GeneratedField::Expired => {
                            if resolved__.is_some() {
                                return Err(serde::de::Error::duplicate_field("expired"));
                            }
                            resolved__ = map_.next_value::<::std::option::Option<_>>()?.map(tracked::Resolved::Expired)
;
                        }
                    }
                }
                Ok(Tracked {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    version: version__.unwrap_or_default(),
                    hash: hash__.unwrap_or_default(),
                    history: history__.unwrap_or_default(),
                    resolved: resolved__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Tracked", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Untrack {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Untrack", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Untrack {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Untrack;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Untrack")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Untrack, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                    }
                }
                Ok(Untrack {
                    chunk_id: chunk_id__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Untrack", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Updates {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.chunk_id.is_empty() {
            len += 1;
        }
        if self.first_version != 0 {
            len += 1;
        }
        if !self.entries.is_empty() {
            len += 1;
        }
        if !self.state_hash.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Updates", len)?;
        if !self.chunk_id.is_empty() {
            struct_ser.serialize_field("chunkId", &self.chunk_id)?;
        }
        if self.first_version != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("firstVersion", ToString::to_string(&self.first_version).as_str())?;
        }
        if !self.entries.is_empty() {
            struct_ser.serialize_field("entries", &self.entries)?;
        }
        if !self.state_hash.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("stateHash", pbjson::private::base64::encode(&self.state_hash).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Updates {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "chunk_id",
            "chunkId",
            "first_version",
            "firstVersion",
            "entries",
            "state_hash",
            "stateHash",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            ChunkId,
            FirstVersion,
            Entries,
            StateHash,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "chunkId" | "chunk_id" => Ok(GeneratedField::ChunkId),
                            "firstVersion" | "first_version" => Ok(GeneratedField::FirstVersion),
                            "entries" => Ok(GeneratedField::Entries),
                            "stateHash" | "state_hash" => Ok(GeneratedField::StateHash),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Updates;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Updates")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Updates, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut chunk_id__ = None;
                let mut first_version__ = None;
                let mut entries__ = None;
                let mut state_hash__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::ChunkId => {
                            if chunk_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("chunkId"));
                            }
                            chunk_id__ = Some(map_.next_value()?);
                        }
                        GeneratedField::FirstVersion => {
                            if first_version__.is_some() {
                                return Err(serde::de::Error::duplicate_field("firstVersion"));
                            }
                            first_version__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Entries => {
                            if entries__.is_some() {
                                return Err(serde::de::Error::duplicate_field("entries"));
                            }
                            entries__ = Some(map_.next_value()?);
                        }
                        GeneratedField::StateHash => {
                            if state_hash__.is_some() {
                                return Err(serde::de::Error::duplicate_field("stateHash"));
                            }
                            state_hash__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Updates {
                    chunk_id: chunk_id__.unwrap_or_default(),
                    first_version: first_version__.unwrap_or_default(),
                    entries: entries__.unwrap_or_default(),
                    state_hash: state_hash__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Updates", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for UpdatesRecord {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if self.epoch != 0 {
            len += 1;
        }
        if self.n != 0 {
            len += 1;
        }
        if self.body.is_some() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.UpdatesRecord", len)?;
        if self.epoch != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("epoch", ToString::to_string(&self.epoch).as_str())?;
        }
        if self.n != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("n", ToString::to_string(&self.n).as_str())?;
        }
        if let Some(v) = self.body.as_ref() {
            match v {
                updates_record::Body::Fence(v) => {
                    struct_ser.serialize_field("fence", v)?;
                }
                updates_record::Body::Decisions(v) => {
                    struct_ser.serialize_field("decisions", v)?;
                }
                updates_record::Body::SnapshotStored(v) => {
                    struct_ser.serialize_field("snapshotStored", v)?;
                }
            }
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for UpdatesRecord {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "epoch",
            "n",
            "fence",
            "decisions",
            "snapshot_stored",
            "snapshotStored",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Epoch,
            N,
            Fence,
            Decisions,
            SnapshotStored,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "epoch" => Ok(GeneratedField::Epoch),
                            "n" => Ok(GeneratedField::N),
                            "fence" => Ok(GeneratedField::Fence),
                            "decisions" => Ok(GeneratedField::Decisions),
                            "snapshotStored" | "snapshot_stored" => Ok(GeneratedField::SnapshotStored),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = UpdatesRecord;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.UpdatesRecord")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<UpdatesRecord, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut epoch__ = None;
                let mut n__ = None;
                let mut body__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Epoch => {
                            if epoch__.is_some() {
                                return Err(serde::de::Error::duplicate_field("epoch"));
                            }
                            epoch__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::N => {
                            if n__.is_some() {
                                return Err(serde::de::Error::duplicate_field("n"));
                            }
                            n__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Fence => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("fence"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(updates_record::Body::Fence)
;
                        }
                        GeneratedField::Decisions => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("decisions"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(updates_record::Body::Decisions)
;
                        }
                        GeneratedField::SnapshotStored => {
                            if body__.is_some() {
                                return Err(serde::de::Error::duplicate_field("snapshotStored"));
                            }
                            body__ = map_.next_value::<::std::option::Option<_>>()?.map(updates_record::Body::SnapshotStored)
;
                        }
                    }
                }
                Ok(UpdatesRecord {
                    epoch: epoch__.unwrap_or_default(),
                    n: n__.unwrap_or_default(),
                    body: body__,
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.UpdatesRecord", FIELDS, GeneratedVisitor)
    }
}
impl serde::Serialize for Welcome {
    #[allow(deprecated)]
    fn serialize<S>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        use serde::ser::SerializeStruct;
        let mut len = 0;
        if !self.session.is_empty() {
            len += 1;
        }
        if !self.writer.is_empty() {
            len += 1;
        }
        if self.limits.is_some() {
            len += 1;
        }
        if !self.families.is_empty() {
            len += 1;
        }
        if self.token_expires_at != 0 {
            len += 1;
        }
        if !self.world.is_empty() {
            len += 1;
        }
        if self.generation != 0 {
            len += 1;
        }
        if self.server_time_ms != 0 {
            len += 1;
        }
        if !self.world_id.is_empty() {
            len += 1;
        }
        let mut struct_ser = serializer.serialize_struct("driftless.v1.Welcome", len)?;
        if !self.session.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("session", pbjson::private::base64::encode(&self.session).as_str())?;
        }
        if !self.writer.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("writer", pbjson::private::base64::encode(&self.writer).as_str())?;
        }
        if let Some(v) = self.limits.as_ref() {
            struct_ser.serialize_field("limits", v)?;
        }
        if !self.families.is_empty() {
            struct_ser.serialize_field("families", &self.families)?;
        }
        if self.token_expires_at != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("tokenExpiresAt", ToString::to_string(&self.token_expires_at).as_str())?;
        }
        if !self.world.is_empty() {
            struct_ser.serialize_field("world", &self.world)?;
        }
        if self.generation != 0 {
            struct_ser.serialize_field("generation", &self.generation)?;
        }
        if self.server_time_ms != 0 {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("serverTimeMs", ToString::to_string(&self.server_time_ms).as_str())?;
        }
        if !self.world_id.is_empty() {
            #[allow(clippy::needless_borrow)]
            #[allow(clippy::needless_borrows_for_generic_args)]
            struct_ser.serialize_field("worldId", pbjson::private::base64::encode(&self.world_id).as_str())?;
        }
        struct_ser.end()
    }
}
impl<'de> serde::Deserialize<'de> for Welcome {
    #[allow(deprecated)]
    fn deserialize<D>(deserializer: D) -> std::result::Result<Self, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        const FIELDS: &[&str] = &[
            "session",
            "writer",
            "limits",
            "families",
            "token_expires_at",
            "tokenExpiresAt",
            "world",
            "generation",
            "server_time_ms",
            "serverTimeMs",
            "world_id",
            "worldId",
        ];

        #[allow(clippy::enum_variant_names)]
        enum GeneratedField {
            Session,
            Writer,
            Limits,
            Families,
            TokenExpiresAt,
            World,
            Generation,
            ServerTimeMs,
            WorldId,
        }
        impl<'de> serde::Deserialize<'de> for GeneratedField {
            fn deserialize<D>(deserializer: D) -> std::result::Result<GeneratedField, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                struct GeneratedVisitor;

                impl serde::de::Visitor<'_> for GeneratedVisitor {
                    type Value = GeneratedField;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(formatter, "expected one of: {:?}", &FIELDS)
                    }

                    #[allow(unused_variables)]
                    fn visit_str<E>(self, value: &str) -> std::result::Result<GeneratedField, E>
                    where
                        E: serde::de::Error,
                    {
                        match value {
                            "session" => Ok(GeneratedField::Session),
                            "writer" => Ok(GeneratedField::Writer),
                            "limits" => Ok(GeneratedField::Limits),
                            "families" => Ok(GeneratedField::Families),
                            "tokenExpiresAt" | "token_expires_at" => Ok(GeneratedField::TokenExpiresAt),
                            "world" => Ok(GeneratedField::World),
                            "generation" => Ok(GeneratedField::Generation),
                            "serverTimeMs" | "server_time_ms" => Ok(GeneratedField::ServerTimeMs),
                            "worldId" | "world_id" => Ok(GeneratedField::WorldId),
                            _ => Err(serde::de::Error::unknown_field(value, FIELDS)),
                        }
                    }
                }
                deserializer.deserialize_identifier(GeneratedVisitor)
            }
        }
        struct GeneratedVisitor;
        impl<'de> serde::de::Visitor<'de> for GeneratedVisitor {
            type Value = Welcome;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("struct driftless.v1.Welcome")
            }

            fn visit_map<V>(self, mut map_: V) -> std::result::Result<Welcome, V::Error>
                where
                    V: serde::de::MapAccess<'de>,
            {
                let mut session__ = None;
                let mut writer__ = None;
                let mut limits__ = None;
                let mut families__ = None;
                let mut token_expires_at__ = None;
                let mut world__ = None;
                let mut generation__ = None;
                let mut server_time_ms__ = None;
                let mut world_id__ = None;
                while let Some(k) = map_.next_key()? {
                    match k {
                        GeneratedField::Session => {
                            if session__.is_some() {
                                return Err(serde::de::Error::duplicate_field("session"));
                            }
                            session__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Writer => {
                            if writer__.is_some() {
                                return Err(serde::de::Error::duplicate_field("writer"));
                            }
                            writer__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::Limits => {
                            if limits__.is_some() {
                                return Err(serde::de::Error::duplicate_field("limits"));
                            }
                            limits__ = map_.next_value()?;
                        }
                        GeneratedField::Families => {
                            if families__.is_some() {
                                return Err(serde::de::Error::duplicate_field("families"));
                            }
                            families__ = Some(map_.next_value()?);
                        }
                        GeneratedField::TokenExpiresAt => {
                            if token_expires_at__.is_some() {
                                return Err(serde::de::Error::duplicate_field("tokenExpiresAt"));
                            }
                            token_expires_at__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::World => {
                            if world__.is_some() {
                                return Err(serde::de::Error::duplicate_field("world"));
                            }
                            world__ = Some(map_.next_value()?);
                        }
                        GeneratedField::Generation => {
                            if generation__.is_some() {
                                return Err(serde::de::Error::duplicate_field("generation"));
                            }
                            generation__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::ServerTimeMs => {
                            if server_time_ms__.is_some() {
                                return Err(serde::de::Error::duplicate_field("serverTimeMs"));
                            }
                            server_time_ms__ = 
                                Some(map_.next_value::<::pbjson::private::NumberDeserialize<_>>()?.0)
                            ;
                        }
                        GeneratedField::WorldId => {
                            if world_id__.is_some() {
                                return Err(serde::de::Error::duplicate_field("worldId"));
                            }
                            world_id__ = 
                                Some(map_.next_value::<::pbjson::private::BytesDeserialize<_>>()?.0)
                            ;
                        }
                    }
                }
                Ok(Welcome {
                    session: session__.unwrap_or_default(),
                    writer: writer__.unwrap_or_default(),
                    limits: limits__,
                    families: families__.unwrap_or_default(),
                    token_expires_at: token_expires_at__.unwrap_or_default(),
                    world: world__.unwrap_or_default(),
                    generation: generation__.unwrap_or_default(),
                    server_time_ms: server_time_ms__.unwrap_or_default(),
                    world_id: world_id__.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_struct("driftless.v1.Welcome", FIELDS, GeneratedVisitor)
    }
}
