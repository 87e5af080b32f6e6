"""`python -m fhir_blob`."""

from fhir_blob.cli import main

if __name__ == "__main__":
    main()
