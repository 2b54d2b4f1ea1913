//! The plain data that every step shares: ids, an alert and its broadcasts, deliveries and their states. No I/O.

pub mod address;
pub mod arrival;
pub mod broadcast;
pub mod condition;
pub mod confirmation;
pub mod cost;
pub mod delivery;
pub mod drill;
pub mod identity;
pub mod ids;
pub mod mail;
pub mod outcome;
pub mod picture;
mod quota;
pub mod report;
pub mod state;
pub mod steps;
pub mod unreachable;

pub use address::AddressKind;
pub use arrival::{Arrival, Arrivals, Arrived};
pub use broadcast::{
    Actor, AlertState, Broadcast, BroadcastState, Kind, Lang, Mode, Recent, Rendering, Unit, Variant,
};
pub use condition::{Condition, Look, Notice, Observation, Phase, Reach, Seen, Sign, Subject, Trouble};
pub use confirmation::{Confirmation, ConfirmationState};
pub use cost::{Cost, Price};
pub use delivery::{
    Delivery, ExpansionState, Need, Post, Primary, Proof, Purpose, Question, Receipt, Recipient, Settled,
    Work,
};
pub use drill::{Injection, Level, RunState};
pub use identity::{Identity, Latest, Profile, Proves, Rights};
pub use ids::{
    AccountId, AlertId, BroadcastId, DeliveryId, GroupId, LaneId, ListId, Live, MessageId, Practice, Side,
};
pub use mail::{Letter, MailKind, MailMark};
pub use outcome::{Busy, DRY_RUN, NOT_NEEDED, Outcome, Reason, STANDS_IN, STOOD_IN_FOR, SendError};
pub use picture::{Picture, PictureRef, PictureRule};
pub use quota::Quota;
pub use report::{BroadcastReport, DeliveryReport, RecipientsReport};
pub use state::{Event, State, WrongTransition};
pub use steps::{Notebook, Steps};
pub use unreachable::{UNREACHABLE_BEFORE, UnreachableBefore};
