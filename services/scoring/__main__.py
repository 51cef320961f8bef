from services.scoring.app import SERVICE
from shared.process import main

if __name__ == "__main__":
    main(SERVICE)
