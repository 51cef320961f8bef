"""`python -m services.compensation`"""

from services.compensation.app import SERVICE
from shared.process import main

if __name__ == "__main__":
    main(SERVICE)
