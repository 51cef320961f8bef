-- Run once as superuser: for every service an owner that migrates and an application role that may only work.
-- APP_PASSWORD and OWNER_PASSWORD come from the environment of psql.
\set ON_ERROR_STOP on
\getenv app_password APP_PASSWORD
\getenv owner_password OWNER_PASSWORD

CREATE ROLE ingest_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'owner_password';
CREATE ROLE ingest_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'app_password';
CREATE DATABASE plumbline_ingest OWNER ingest_owner;
REVOKE ALL ON DATABASE plumbline_ingest FROM PUBLIC;
GRANT CONNECT ON DATABASE plumbline_ingest TO ingest_app;
\connect plumbline_ingest
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ingest_owner;
GRANT USAGE ON SCHEMA public TO ingest_app;
ALTER DEFAULT PRIVILEGES FOR ROLE ingest_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ingest_app;
ALTER DEFAULT PRIVILEGES FOR ROLE ingest_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO ingest_app;
\connect postgres

CREATE ROLE scoring_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'owner_password';
CREATE ROLE scoring_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'app_password';
CREATE DATABASE plumbline_scoring OWNER scoring_owner;
REVOKE ALL ON DATABASE plumbline_scoring FROM PUBLIC;
GRANT CONNECT ON DATABASE plumbline_scoring TO scoring_app;
\connect plumbline_scoring
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO scoring_owner;
GRANT USAGE ON SCHEMA public TO scoring_app;
ALTER DEFAULT PRIVILEGES FOR ROLE scoring_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO scoring_app;
ALTER DEFAULT PRIVILEGES FOR ROLE scoring_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO scoring_app;
\connect postgres

CREATE ROLE calibration_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'owner_password';
CREATE ROLE calibration_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'app_password';
CREATE DATABASE plumbline_calibration OWNER calibration_owner;
REVOKE ALL ON DATABASE plumbline_calibration FROM PUBLIC;
GRANT CONNECT ON DATABASE plumbline_calibration TO calibration_app;
\connect plumbline_calibration
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO calibration_owner;
GRANT USAGE ON SCHEMA public TO calibration_app;
ALTER DEFAULT PRIVILEGES FOR ROLE calibration_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO calibration_app;
ALTER DEFAULT PRIVILEGES FOR ROLE calibration_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO calibration_app;
\connect postgres

CREATE ROLE compensation_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'owner_password';
CREATE ROLE compensation_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'app_password';
CREATE DATABASE plumbline_compensation OWNER compensation_owner;
REVOKE ALL ON DATABASE plumbline_compensation FROM PUBLIC;
GRANT CONNECT ON DATABASE plumbline_compensation TO compensation_app;
\connect plumbline_compensation
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO compensation_owner;
GRANT USAGE ON SCHEMA public TO compensation_app;
ALTER DEFAULT PRIVILEGES FOR ROLE compensation_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO compensation_app;
ALTER DEFAULT PRIVILEGES FOR ROLE compensation_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO compensation_app;
\connect postgres

CREATE ROLE notifications_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'owner_password';
CREATE ROLE notifications_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'app_password';
CREATE DATABASE plumbline_notifications OWNER notifications_owner;
REVOKE ALL ON DATABASE plumbline_notifications FROM PUBLIC;
GRANT CONNECT ON DATABASE plumbline_notifications TO notifications_app;
\connect plumbline_notifications
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO notifications_owner;
GRANT USAGE ON SCHEMA public TO notifications_app;
ALTER DEFAULT PRIVILEGES FOR ROLE notifications_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO notifications_app;
ALTER DEFAULT PRIVILEGES FOR ROLE notifications_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO notifications_app;
\connect postgres
