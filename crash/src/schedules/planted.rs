//! Bugs on purpose, to show that a case finds them: triggers that undo what a store has just done right.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bug {
    /// Whoever has read a schedule fires what has replaced it meanwhile
    ForgetsTokens,
    /// What has fired sometimes waits on
    FiresAgain,
    /// What was cancelled sometimes waits on
    ForgetsCancellations,
    /// Of what recurs a moment is left out sometimes
    SkipsMoments,
}

impl Bug {
    /// What plants it in a file.
    pub(crate) fn sqlite(self) -> &'static str {
        match self {
            Self::ForgetsTokens => {
                "CREATE TRIGGER bug AFTER UPDATE OF token ON tramline_schedule
                     WHEN OLD.state = 0 AND NEW.state = 0
                 BEGIN UPDATE tramline_schedule SET token = OLD.token WHERE id = NEW.id; END"
            }
            Self::FiresAgain => {
                "CREATE TRIGGER bug AFTER UPDATE OF state ON tramline_schedule
                     WHEN OLD.state = 0 AND NEW.state = 1 AND random() % 20 = 0
                 BEGIN UPDATE tramline_schedule SET state = 0, at = OLD.at, envelope = OLD.envelope,
                     destination = OLD.destination, body = OLD.body WHERE id = NEW.id; END"
            }
            Self::ForgetsCancellations => {
                "CREATE TRIGGER bug AFTER UPDATE OF state ON tramline_schedule
                     WHEN OLD.state = 0 AND NEW.state = 2 AND random() % 20 = 0
                 BEGIN UPDATE tramline_schedule SET state = 0, at = OLD.at, envelope = OLD.envelope,
                     destination = OLD.destination, body = OLD.body WHERE id = NEW.id; END"
            }
            Self::SkipsMoments => {
                "CREATE TRIGGER bug AFTER UPDATE OF due ON tramline_recurring
                     WHEN random() % 50 = 0
                 BEGIN UPDATE tramline_recurring SET due = due + 20000 WHERE name = NEW.name; END"
            }
        }
    }

    /// What plants it in a database of PostgreSQL.
    pub(crate) fn postgres(self) -> &'static str {
        match self {
            Self::ForgetsTokens => {
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN NEW.token := OLD.token; RETURN NEW; END $$;
                 CREATE TRIGGER bug BEFORE UPDATE ON tramline.schedule FOR EACH ROW
                     WHEN (OLD.state = 0 AND NEW.state = 0) EXECUTE FUNCTION bug()"
            }
            Self::FiresAgain => {
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN UPDATE tramline.schedule SET state = 0, at = OLD.at,
                         destination = OLD.destination, envelope = OLD.envelope, body = OLD.body
                         WHERE name = NEW.name; RETURN NULL; END $$;
                 CREATE TRIGGER bug AFTER UPDATE ON tramline.schedule FOR EACH ROW
                     WHEN (OLD.state = 0 AND NEW.state = 1 AND random() < 0.05)
                     EXECUTE FUNCTION bug()"
            }
            Self::ForgetsCancellations => {
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN UPDATE tramline.schedule SET state = 0, at = OLD.at,
                         destination = OLD.destination, envelope = OLD.envelope, body = OLD.body
                         WHERE name = NEW.name; RETURN NULL; END $$;
                 CREATE TRIGGER bug AFTER UPDATE ON tramline.schedule FOR EACH ROW
                     WHEN (OLD.state = 0 AND NEW.state = 2 AND random() < 0.05)
                     EXECUTE FUNCTION bug()"
            }
            Self::SkipsMoments => {
                "CREATE FUNCTION bug() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN NEW.due := NEW.due + 20000; RETURN NEW; END $$;
                 CREATE TRIGGER bug BEFORE UPDATE ON tramline.recurring FOR EACH ROW
                     WHEN (random() < 0.02) EXECUTE FUNCTION bug()"
            }
        }
    }
}
